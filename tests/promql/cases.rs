//! Each file of `cases/` is a script of one subject.

use super::script::run;

macro_rules! cases {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(include_str!(concat!("cases/", stringify!($name), ".test")));
            }
        )*
    };
}

cases! {
    aggregations
    at_modifier
    functions
    lookback
    offset
    operators
    over_time
    rates
    subqueries
}
