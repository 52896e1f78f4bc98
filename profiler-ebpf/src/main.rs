//! x
#![no_std]
#![no_main]
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
#[raw_tracepoint(tracepoint = "net_dev_queue")]
pub fn net_dev_queue(_ctx: RawTracePointContext) -> i32 {
    0
}
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
