//! The order of the plugins that there are.

use proptest::prelude::*;

use super::{Driver, World};
use crate::registry;

proptest! {
    #[test]
    fn any_order_of_the_plugins_is_sorted_and_a_wrong_one_is_named(
        // Of those that provide credentials a list has one at most.
        names in Just(registry().names().filter(|name| !["federated_auth", "okta", "secrets_manager"].contains(name)).collect::<Vec<_>>()).prop_shuffle()
    ) {
        let list = names.join(",");
        let try_new = |sort| World::try_new(
            &format!("plugins={list}&auto_sort_wrapper_plugin_order={sort}"), Vec::new(), Driver::default(),
        );
        prop_assert!(try_new(true).is_ok(), "{list}");
        let at = |name| names.iter().position(|known| *known == name);
        match try_new(false) {
            Ok(_) => prop_assert!(at("failover") < at("efm"), "{list} was accepted"),
            Err(error) => {
                prop_assert!(at("failover") > at("efm"), "{list}: {error}");
                let text = error.to_string();
                prop_assert!(text.contains("`failover`") && text.contains("`efm`"), "{text}");
            }
        }
    }
}
