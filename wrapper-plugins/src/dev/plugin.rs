//! The plugin.

use std::sync::Arc;

use async_trait::async_trait;
use wrapper_core::Result;
use wrapper_core::env::Environment;
use wrapper_core::plugin::{
    CallContext, ConnectContext, ConnectNext, Connected, ExecuteNext, MethodSet, OrderClass, Plugin,
};

use super::config::{Fault, Faults};

#[derive(Debug)]
pub(super) struct DevPlugin {
    pub(super) faults: Arc<Faults>,
    pub(super) env: Environment,
}

impl DevPlugin {
    async fn opened(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        if !cx.is_monitor() {
            match self.faults.for_connect(&cx.target) {
                Some(Fault::Fail(error)) => return Err(error),
                Some(Fault::Delay(delay)) => {
                    let pause = async {
                        self.env.sleep(delay).await;
                        Ok(())
                    };
                    cx.deadline.run("a delay that the plugin `dev` was asked for", pause).await?;
                }
                None => {}
            }
        }
        next.run(cx).await
    }
}

#[async_trait]
impl Plugin for DevPlugin {
    fn name(&self) -> &'static str {
        "dev"
    }

    // Innermost: to every other plugin the fault looks like the driver's.
    fn class(&self) -> OrderClass {
        OrderClass::Connection
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::CONNECT | MethodSet::FORCE_CONNECT | MethodSet::EXECUTE
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        self.opened(cx, next).await
    }

    async fn force_connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        self.opened(cx, next).await
    }

    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> Result<()> {
        match self.faults.for_call(cx.call()) {
            Some(Fault::Fail(error)) => return Err(error),
            Some(Fault::Delay(delay)) => self.env.sleep(delay).await,
            None => {}
        }
        next.run(cx).await
    }
}
