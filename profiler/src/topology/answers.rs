//! What the kernel answers to a netlink request, read as it comes.

use std::ops::AddAssign;

use anyhow::{Context as _, bail};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkAttribute};
use rtnetlink::packet_core::{ErrorMessage, NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload};

use super::mended::{Mended, mended};

/// Length, type, flags, sequence number and sender.
const HEADER: usize = 16;
/// How often a list is asked for that changes each time.
const MOST_DUMPS: usize = 8;

/// What may be missing in what the kernel told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    /// Messages that could not be read.
    pub unread: usize,
    /// Lists that changed each time while the kernel told them.
    pub interrupted: usize,
}

impl AddAssign for Gaps {
    fn add_assign(&mut self, other: Self) {
        self.unread += other.unread;
        self.interrupted += other.interrupted;
    }
}

impl Gaps {
    /// As sentences.
    pub fn notes(self) -> impl Iterator<Item = String> {
        let Self { unread, interrupted } = self;
        let unread = (unread > 0)
            .then(|| format!("{unread} netlink messages of this kernel could not be read: devices may be missing"));
        let interrupted = (interrupted > 0)
            .then(|| "devices came and went each time while the kernel told them: some may be missing".to_owned());
        unread.into_iter().chain(interrupted)
    }
}

/// A whole list. One that changed while the kernel told it may lack what was there all the time: it is asked for again.
pub(super) fn whole(
    mut ask: impl FnMut() -> anyhow::Result<Answers>,
) -> anyhow::Result<(Vec<RouteNetlinkMessage>, Gaps)> {
    let mut answers = ask()?;
    for _ in 1..MOST_DUMPS {
        if !answers.interrupted {
            break;
        }
        answers = ask()?;
    }
    let gaps = Gaps { unread: answers.unread, interrupted: usize::from(answers.interrupted) };
    Ok((answers.messages, gaps))
}

/// The answers to one request.
#[derive(Debug)]
pub(super) struct Answers {
    sequence: u32,
    is_dump: bool,
    /// What was answered.
    pub messages: Vec<RouteNetlinkMessage>,
    /// How many messages could not be read.
    pub unread: usize,
    /// The list changed while the kernel told it, which then tells some twice or not at all.
    pub interrupted: bool,
}

impl Answers {
    /// No answer yet to the request with this number; a dump is answered by many messages and an end.
    pub fn to(sequence: u32, is_dump: bool) -> Self {
        Self { sequence, is_dump, messages: Vec::new(), unread: 0, interrupted: false }
    }

    /// Takes what came at once; whether it was the last.
    pub fn take(&mut self, mut rest: &[u8]) -> anyhow::Result<bool> {
        if rest.is_empty() {
            bail!("the kernel closed the netlink socket");
        }
        while let Some(length) = rest.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word) as usize) {
            if length < HEADER || length > rest.len() {
                bail!("a netlink answer is cut short");
            }
            let (one, _) = rest.split_at(length);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if self.take_one(one)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take_one(&mut self, one: &[u8]) -> anyhow::Result<bool> {
        let Some(answer) = read(one) else {
            self.unread += 1;
            return Ok(!self.is_dump);
        };
        if answer.header.sequence_number != self.sequence {
            return Ok(false);
        }
        self.interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            NetlinkPayload::Done(done) if done.code < 0 => {
                Err(std::io::Error::from_raw_os_error(done.code.saturating_neg()))
                    .context("the kernel broke a list off")
            }
            NetlinkPayload::Done(_) => Ok(true),
            NetlinkPayload::Error(ErrorMessage { code: Some(code), .. }) => {
                // The crate's own would negate a number that has no opposite.
                Err(std::io::Error::from_raw_os_error(code.get().saturating_neg()))
                    .context("the kernel refused a netlink request")
            }
            NetlinkPayload::InnerMessage(inner) => {
                self.messages.push(inner);
                Ok(!self.is_dump)
            }
            _ => Ok(!self.is_dump),
        }
    }
}

/// A message, with names of devices in letters.
fn read(one: &[u8]) -> Option<NetlinkMessage<RouteNetlinkMessage>> {
    if let Ok(answer) = NetlinkMessage::deserialize(one) {
        return Some(answer);
    }
    let Mended { bytes, name } = mended(one)?;
    let mut answer = NetlinkMessage::deserialize(&bytes).ok()?;
    if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = &mut answer.payload {
        for attribute in &mut link.attributes {
            if let LinkAttribute::IfName(shown) = attribute {
                name.iter().for_each(|name| shown.clone_from(name));
            }
        }
    }
    Some(answer)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A message without anything but its head and this.
    fn message(kind: u16, flags: u16, sequence: u32, inner: &[u8]) -> Vec<u8> {
        let length = (HEADER + inner.len()) as u32;
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &sequence.to_ne_bytes(), &[0; 4], inner]
            .concat()
    }

    const LINK: u16 = 16;
    const DONE: u16 = 3;

    #[test]
    fn a_list_that_changed_while_it_was_told_is_known_by_any_of_its_messages() {
        for flags in [[0, 0], [NLM_F_DUMP_INTR, 0], [0, NLM_F_DUMP_INTR]] {
            let mut answers = Answers::to(7, true);
            assert!(!answers.take(&message(LINK, flags[0], 7, &[0; 16])).unwrap());
            assert!(answers.take(&message(DONE, flags[1], 7, &[0; 4])).unwrap());
            assert_eq!((answers.messages.len(), answers.interrupted), (1, flags != [0, 0]));
        }
        let mut answers = Answers::to(7, true);
        let stale = message(LINK, NLM_F_DUMP_INTR, 6, &[0; 16]);
        assert!(!answers.take(&stale).unwrap() && !answers.interrupted && answers.messages.is_empty());
    }

    #[test]
    fn a_list_that_changed_is_asked_for_again_but_not_for_ever() {
        let told = |interrupted| {
            let mut answers = Answers::to(7, true);
            assert!(!answers.take(&message(LINK, 0, 7, &[0; 16])).unwrap());
            answers.interrupted = interrupted;
            answers
        };
        for (changes, asked_for, missing) in [(0, 1, 0), (2, 3, 0), (100, MOST_DUMPS, 1)] {
            let mut asked = 0;
            let (messages, gaps) = whole(|| {
                asked += 1;
                Ok(told(asked <= changes))
            })
            .unwrap();
            assert_eq!((asked, messages.len(), gaps.interrupted), (asked_for, 1, missing));
        }
    }

    #[test]
    fn a_list_that_the_kernel_breaks_off_is_no_list() {
        let mut answers = Answers::to(7, true);
        let error = answers.take(&message(DONE, 0, 7, &(-libc::ENOMEM).to_ne_bytes())).unwrap_err();
        assert!(format!("{error:#}").contains("memory"), "{error:#}");
    }

    #[test]
    fn what_may_be_missing_is_told() {
        assert_eq!(Gaps::default().notes().count(), 0);
        let mut gaps = Gaps { unread: 1, interrupted: 0 };
        gaps += Gaps { unread: 1, interrupted: 1 };
        let notes: Vec<String> = gaps.notes().collect();
        assert!(notes.len() == 2 && notes[0].starts_with("2 netlink messages"), "{notes:?}");
    }
}
