//! The kernel's softirq vectors.

use crate::named;

named! {
    /// A softirq vector; numbered and named as the kernel does:
    /// <https://elixir.bootlin.com/linux/v6.12/C/ident/NR_SOFTIRQS>.
    #[derive(Default)]
    pub enum Vector;
    #[default]
    Hi "HI" "tasklets of high priority";
    Timer "TIMER" "timers";
    NetTx "NET_TX" "completed and deferred transmission";
    NetRx "NET_RX" "reception: NAPI polls";
    Block "BLOCK" "block devices";
    IrqPoll "IRQ_POLL" "polled block devices";
    Tasklet "TASKLET" "tasklets";
    Sched "SCHED" "the scheduler's balancing";
    Hrtimer "HRTIMER" "timers of high resolution";
    Rcu "RCU" "RCU callbacks";
}
