//! What class of failure an error of DataFusion is.

use datafusion::error::DataFusionError;

use crate::monitor::PANIC;

/// The class of a failure: a few, by the error at the root, without data.
pub(super) fn class(error: &DataFusionError) -> &'static str {
    match error.find_root() {
        DataFusionError::SQL(..) => "parse",
        DataFusionError::Plan(_) => "plan",
        DataFusionError::SchemaError(..) => "schema",
        DataFusionError::Configuration(_) => "configuration",
        DataFusionError::NotImplemented(_) => "not_implemented",
        DataFusionError::Internal(_) => "internal",
        DataFusionError::ResourcesExhausted(_) => "memory",
        DataFusionError::IoError(_) => "io",
        DataFusionError::ObjectStore(_) => "object_store",
        DataFusionError::ArrowError(..) => "arrow",
        DataFusionError::Execution(_) => "execution",
        DataFusionError::ExecutionJoin(join) if join.is_panic() => PANIC,
        DataFusionError::ExecutionJoin(_) => "task",
        DataFusionError::External(_) => "external",
        // Several at once: the first stands for them.
        DataFusionError::Collection(all) => all.first().map_or("execution", class),
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_tells_the_class() {
        let plan = DataFusionError::Plan("no such table".to_owned());
        let io = || DataFusionError::IoError(std::io::Error::other("reset"));
        for (error, expected) in [
            (plan.context("while resolving"), "plan"),
            (DataFusionError::External(Box::new(io())), "io"),
            (DataFusionError::Collection(vec![io(), io()]), "io"),
            (DataFusionError::ResourcesExhausted("pool".to_owned()), "memory"),
        ] {
            assert_eq!(class(&error), expected, "{error}");
        }
    }
}
