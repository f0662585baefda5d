//! What a scan reads, and by which name its source is known.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Constraints, ResolvedTableReference, Result, Statistics};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_federation::FederatedTableProviderAdaptor;
use datafusion_federation::sql::VirtualExecutionPlan;

use super::running::Running;
use super::source::{SourceExec, listen};
use crate::monitor::{FederationMonitor, Source};

/// What a scan reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scanned<'a> {
    /// A table of a catalog.
    Table {
        /// Its full name.
        table: &'a ResolvedTableReference,
        /// Whether its catalog and schema are those of names without them.
        default_schema: bool,
    },
    /// A part of a query that a federation provider answers.
    Federated {
        /// The name of its executor.
        executor: &'a str,
        /// What tells executors of one name apart.
        compute_context: Option<&'a str>,
    },
}

impl Scanned<'_> {
    /// The name where the host gives none: of a table its own, behind catalog and schema where these
    /// are not the default ones; of a federated part `EXECUTOR/CONTEXT`, or the executor's alone
    /// where the context says no more.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Table { table, default_schema: true } => table.table.to_string(),
            Self::Table { table, .. } => table.to_string(),
            Self::Federated { executor, compute_context: Some(context) } if context != executor => {
                format!("{executor}/{context}")
            }
            Self::Federated { executor, .. } => (*executor).to_owned(),
        }
    }
}

/// Which name is a source's.
type Naming = Arc<dyn Fn(&Scanned<'_>) -> String + Send + Sync>;

/// Finds sources by what is scanned.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) monitor: Arc<FederationMonitor>,
    pub(super) naming: Naming,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    fn find(&self, scanned: &Scanned<'_>) -> Source {
        self.monitor.source(&(self.naming)(scanned))
    }

    /// The plan with its scans of tables listened to. Federated tables are not: what becomes of
    /// them is known after federation.
    ///
    /// # Errors
    /// DataFusion's own.
    pub(super) fn listen_to_tables(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
        running: &Arc<Running>,
    ) -> Result<LogicalPlan> {
        let catalog = &session.config_options().catalog;
        let (in_catalog, in_schema) = (&catalog.default_catalog, &catalog.default_schema);
        plan.clone()
            .transform_down_with_subqueries(|node| {
                let LogicalPlan::TableScan(mut scan) = node else {
                    return Ok(Transformed::no(node));
                };
                let Ok(table) = source_as_provider(&scan.source) else {
                    return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
                };
                let name = scan.table_name.clone().resolve(in_catalog, in_schema);
                let schema_itself = &*name.schema == "information_schema";
                if schema_itself || table.is::<FederatedTableProviderAdaptor>() {
                    return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
                }
                let default_schema = *name.catalog == **in_catalog && *name.schema == **in_schema;
                let source = self.find(&Scanned::Table { table: &name, default_schema });
                let running = Arc::clone(running);
                scan.source = provider_as_source(Arc::new(Table { table, source, running }));
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            })
            .data()
    }

    /// The plan with its federated parts listened to.
    ///
    /// # Errors
    /// DataFusion's own.
    pub(super) fn listen_to_federated(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        running: &Arc<Running>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(part) = node.downcast_ref::<VirtualExecutionPlan>() else {
                return Ok(Transformed::no(node));
            };
            let executor = part.executor();
            let context = executor.compute_context();
            let scanned = Scanned::Federated {
                executor: executor.name(),
                compute_context: context.as_deref(),
            };
            let source = self.find(&scanned);
            let scan = SourceExec::new(node, source, Arc::clone(running));
            Ok(Transformed::yes(Arc::new(scan)))
        })
        .data()
    }
}

/// A table for one query, whose scans are listened to.
#[derive(Debug)]
struct Table {
    table: Arc<dyn TableProvider>,
    source: Source,
    running: Arc<Running>,
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.table.constraints()
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.table.get_table_definition()
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.table.get_logical_plan()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.table.get_column_default(column)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = self.table.scan(state, projection, filters, limit).await?;
        listen(scan, &self.source, &self.running)
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn Session,
        args: ScanArgs<'a>,
    ) -> Result<ScanResult> {
        let scan = self.table.scan_with_args(state, args).await?;
        Ok(listen(scan.into_inner(), &self.source, &self.running)?.into())
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    fn statistics(&self) -> Option<Statistics> {
        self.table.statistics()
    }
}
