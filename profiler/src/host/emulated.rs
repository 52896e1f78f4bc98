//! Whether this host is an emulated machine of ours: the parameters of its kernel say it, which `machine` gives it.

use crate::choices::{Clock, Kernel, find_kernel};

const PARAMETER: &str = "netstrata.machine";
const CLOCK_PARAMETER: &str = "netstrata.clock";

/// Parameters of a guest's kernel from which a program in it knows where it is.
pub fn kernel_parameters(kernel: &Kernel, clock: Clock) -> String {
    format!("{PARAMETER}={} {CLOCK_PARAMETER}={}", kernel.version, clock.name())
}

/// The emulated machine that this program itself runs in: its kernel and its clock.
pub fn inside() -> Option<(&'static Kernel, Clock)> {
    inside_of(&std::fs::read_to_string("/proc/cmdline").ok()?)
}

/// What drives the clock of this host.
pub fn clock() -> Clock {
    inside().map_or_else(Clock::default, |(_, clock)| clock)
}

fn inside_of(command_line: &str) -> Option<(&'static Kernel, Clock)> {
    let value = |name: &str| {
        let mut words = command_line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        words.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let kernel = find_kernel(value(PARAMETER)?).ok()?;
    let clock =
        if value(CLOCK_PARAMETER) == Some(Clock::Instructions.name()) { Clock::Instructions } else { Clock::Wall };
    Some((kernel, clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::KERNELS;

    #[test]
    fn a_program_knows_the_machine_it_is_in_by_the_parameters_of_the_kernel() {
        for kernel in KERNELS {
            for clock in [Clock::Wall, Clock::Instructions] {
                let line = format!("console=ttyS0 {} panic=-1\n", kernel_parameters(kernel, clock));
                assert_eq!(inside_of(&line), Some((kernel, clock)));
            }
        }
        assert_eq!(inside_of("root=/dev/vda ro quiet\n"), None);
    }
}
