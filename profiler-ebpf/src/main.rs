//! The kernel programs: one for each probe point, stamped in [`probe`]; what they do is in [`record`].
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![feature(macro_metavar_expr_concat)]
#![expect(clippy::needless_borrows_for_generic_args, reason = "what maps take by value would not fit the stack")]

mod account;
mod function;
mod globals;
mod hook;
mod lineage;
mod maps;
mod probe;
mod record;
mod sample;
mod skb;
mod softirq;
mod tunnel;
mod upcall;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
