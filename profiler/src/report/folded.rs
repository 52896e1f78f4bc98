//! CPU samples as folded stacks, the input of every flame graph program.
//!
//! A line is `layer;context;comm;outer;…;inner count`. User samples are `userspace;user;COMM`, idle samples
//! `idle;idle;COMM` (the stack of an idle CPU tells nothing, but leaving idle time out would hide how much there was),
//! samples without a layer begin with `unattributed`. Lines are sorted and each stack stands once.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    analysis::Account,
    cpu::{Classifier, Context, context_of, layer_of, stack_of},
    profile::Profile,
};

/// The name of samples that no frame gives a layer.
pub const UNATTRIBUTED: &str = "unattributed";

/// Samples by frames, outermost first: layer, context, thread, kernel functions.
pub(crate) fn stacks(profile: &Profile) -> BTreeMap<Vec<String>, u64> {
    let classifier = Classifier::new(&profile.cpu.symbols);
    let mut stacks: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for sample in &profile.cpu.entries {
        let task = profile.cpu.tasks.get(sample.task as usize);
        let stack = stack_of(profile, sample);
        let context = context_of(&classifier, sample, stack, task);
        let layer = layer_of(&classifier, context, stack);
        let mut frames = vec![
            layer.map_or(UNATTRIBUTED, |layer| layer.name()).to_owned(),
            context.name().to_owned(),
            task.map_or_else(|| "?".to_owned(), |task| clean(&task.comm)),
        ];
        if !matches!(context, Context::User | Context::Idle) {
            frames.extend(stack.iter().rev().map(|&frame| clean(classifier.name(frame))));
        }
        *stacks.entry(frames).or_default() += sample.count;
    }
    stacks
}

/// A name that cannot be taken for two frames or two lines, nor its last word for a count: programs that draw differences take
/// two of them.
fn clean(name: &str) -> String {
    let counts = name.split_whitespace().next_back().is_some_and(|word| word.parse::<f64>().is_ok());
    let breaks = |letter: char| letter == ';' || letter.is_control() || (counts && letter.is_whitespace());
    name.chars().map(|letter| if breaks(letter) { '_' } else { letter }).collect()
}

/// The CPU samples of a profile as folded stacks.
pub fn render(profile: &Profile, _account: &Account) -> String {
    folded(profile)
}

fn folded(profile: &Profile) -> String {
    let mut lines: Vec<String> =
        stacks(profile).iter().map(|(frames, count)| format!("{} {count}", frames.join(";"))).collect();
    lines.sort_unstable();
    lines.iter().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "{line}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::testdata;

    #[test]
    fn lines_are_sorted_and_hold_every_sample() {
        let profile = testdata::stream();
        let text = folded(&profile);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.is_sorted());
        let total: u64 = lines
            .iter()
            .map(|line| line.rsplit_once(' ').expect("the test has it").1.parse::<u64>().expect("the test has it"))
            .sum();
        assert_eq!(total, profile.cpu.samples);
        assert_eq!(text, folded(&profile));
    }

    #[test]
    fn outer_frames_come_first_and_user_and_idle_have_none() {
        let text = folded(&testdata::stream());
        assert!(text.contains("\nuserspace;user;iperf3 61\n"));
        assert!(text.contains("idle;idle;swapper/0 484\n"));
        assert!(text.contains("\nunattributed;task;iperf3;entry_SYSCALL_64_after_hwframe;do_syscall_64;ext4_read 3\n"));
        assert!(text.contains("bridge;ksoftirqd;ksoftirqd/1;ret_from_fork;kthread;smpboot_thread_fn;run_ksoftirqd;"));
    }

    #[test]
    fn a_thread_cannot_break_the_format() {
        let mut profile = testdata::profile(&[(1, 0, None, None, 5)]);
        profile.cpu.tasks[1].comm = "a;b\nc".to_owned();
        assert_eq!(folded(&profile), "userspace;user;a_b_c 5\n");
        profile.cpu.tasks[1].comm = "conn no 7".to_owned();
        assert_eq!(folded(&profile), "userspace;user;conn_no_7 5\n");
    }
}
