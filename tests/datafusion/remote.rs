//! A source of its own: a second DataFusion that is asked in SQL, with faults on request.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::unparser::dialect::{DefaultDialect, Dialect};
use datafusion_federation::sql::{SQLExecutor, SQLFederationProvider, SQLSchemaProvider};
use futures::{StreamExt, TryStreamExt};

/// What goes wrong with the next answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Before the first batch.
    Slow(Duration),
    /// After the first batch.
    Fail,
    /// For ever, before the first batch.
    Hang,
}

/// See the module.
pub(crate) struct Remote {
    name: String,
    session: SessionContext,
    fault: Mutex<Fault>,
}

impl Remote {
    /// A source that holds these tables.
    pub(crate) fn new(name: &str, tables: &[(&str, Vec<RecordBatch>)]) -> Arc<Self> {
        let config = SessionConfig::new().with_target_partitions(1);
        let session = SessionContext::new_with_config(config);
        for (table, batches) in tables {
            let held = MemTable::try_new(batches[0].schema(), vec![batches.clone()]).unwrap();
            session.register_table(*table, Arc::new(held)).unwrap();
        }
        Arc::new(Self { name: name.to_owned(), session, fault: Mutex::default() })
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Makes its tables known to `session`, in a schema of its name.
    pub(crate) async fn register(self: &Arc<Self>, session: &SessionContext) {
        let names = self.table_names().await.unwrap();
        let executor = Arc::clone(self) as Arc<dyn SQLExecutor>;
        let provider = Arc::new(SQLFederationProvider::new(executor));
        let schema = SQLSchemaProvider::new_with_tables(provider, names).await.unwrap();
        let catalog = session.catalog("datafusion").unwrap();
        catalog.register_schema(&self.name, Arc::new(schema)).unwrap();
    }
}

/// A host's session, which federates.
pub(crate) fn federating() -> SessionContext {
    SessionContext::new_with_state(datafusion_federation::default_session_state())
}

#[async_trait]
impl SQLExecutor for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    fn compute_context(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn dialect(&self) -> Arc<dyn Dialect> {
        Arc::new(DefaultDialect {})
    }

    fn execute(
        &self,
        query: &str,
        schema: SchemaRef,
        _filters: &[Arc<dyn PhysicalExpr>],
    ) -> Result<SendableRecordBatchStream> {
        let fault = *self.fault.lock().unwrap();
        let (session, query) = (self.session.clone(), query.to_owned());
        let answer = async move {
            match fault {
                Fault::Slow(delay) => tokio::time::sleep(delay).await,
                Fault::Hang => futures::future::pending().await,
                _ => {}
            }
            let rows = session.sql(&query).await?.execute_stream().await?;
            let failure = (fault == Fault::Fail).then(|| {
                let error = std::io::Error::other("the connection was reset");
                Err(DataFusionError::External(Box::new(DataFusionError::IoError(error))))
            });
            let rows = rows.take(if failure.is_some() { 1 } else { usize::MAX });
            Ok::<_, DataFusionError>(rows.chain(futures::stream::iter(failure)))
        };
        let rows = futures::stream::once(answer).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    async fn table_names(&self) -> Result<Vec<String>> {
        let catalog = self.session.catalog("datafusion").unwrap();
        Ok(catalog.schema("public").unwrap().table_names())
    }

    async fn get_table_schema(&self, table: &str) -> Result<SchemaRef> {
        let frame = self.session.table(table).await?;
        Ok(Arc::new(frame.schema().as_arrow().clone()))
    }
}
