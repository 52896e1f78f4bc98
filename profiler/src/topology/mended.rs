//! Names of devices may be any bytes but `/` and spaces. The crate that reads messages of the kernel wants letters, and takes no
//! message that has others in a name: those are written in letters before.

use crate::output::name;

const HEADER: usize = 16;
/// Messages with names: (type, length of what stands before the attributes).
const NEW_LINK: (u16, usize) = (16, 16);
const NEW_ADDRESS: (u16, usize) = (20, 8);
/// Attributes that are names: IFLA_IFNAME and IFA_LABEL, IFLA_QDISC, IFLA_IFALIAS, IFLA_ALT_IFNAME.
const IF_NAME: u16 = 3;
const NAMES: [u16; 4] = [IF_NAME, 6, 20, ALT_IFNAME];
const ALT_IFNAME: u16 = 53;
/// What the last ones stand in: IFLA_PROP_LIST.
const PROP_LIST: u16 = 52;
/// The upper bits of a type are flags.
const TYPE: u16 = 0x3fff;

/// A message that can be read.
pub(super) struct Mended {
    /// The message, with `?` for what is no letter.
    pub bytes: Vec<u8>,
    /// The device's name as it is.
    pub name: Option<String>,
}

/// The message with names that are letters, if there is one of a device.
pub(super) fn mended(message: &[u8]) -> Option<Mended> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let (_, head) = [NEW_LINK, NEW_ADDRESS].into_iter().find(|(known, _)| *known == kind)?;
    let mut mended = Mended { bytes: message.to_vec(), name: None };
    let (bytes, found) = (&mut mended.bytes, &mut mended.name);
    attributes(bytes.get_mut(HEADER + head..)?, found);
    Some(mended)
}

fn attributes(mut rest: &mut [u8], found: &mut Option<String>) {
    while let Some(&[one, two, three, four]) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([one, two]));
        let kind = u16::from_ne_bytes([three, four]) & TYPE;
        let Some((own, _)) = rest.split_at_mut_checked(length).filter(|_| length >= 4) else { return };
        if kind == PROP_LIST {
            attributes(&mut own[4..], found);
        } else if NAMES.contains(&kind) {
            let text = &mut own[4..];
            if kind == IF_NAME {
                *found = Some(name(text.split(|byte| *byte == 0).next().unwrap_or_default()));
            }
            if std::str::from_utf8(text).is_err() {
                text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
            }
        }
        rest = rest.get_mut(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = (4 + value.len()) as u16;
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, head: usize, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + head];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(attributes.concat());
        bytes
    }

    #[test]
    fn bytes_that_are_no_letters_are_written_in_letters() {
        let inner = attribute(ALT_IFNAME, b"a\xff\0");
        let all = [attribute(1, b"\xff\xff\xff"), attribute(3, b"v\xffx\0"), attribute(PROP_LIST | 0x8000, &inner)];
        let mended = mended(&message(16, 16, &all)).expect("a device");
        assert_eq!(mended.name.as_deref(), Some(r"v\xffx"));
        let wanted = [
            attribute(1, b"\xff\xff\xff"),
            attribute(3, b"v?x\0"),
            attribute(PROP_LIST | 0x8000, &attribute(ALT_IFNAME, b"a?\0")),
        ];
        assert_eq!(mended.bytes, message(16, 16, &wanted));
        let label = super::mended(&message(20, 8, &[attribute(3, b"\xfe\0")])).expect("an address");
        assert_eq!(label.bytes, message(20, 8, &[attribute(3, b"?\0")]));
        assert!(super::mended(&message(24, 8, &[])).is_none());
    }

    #[test]
    fn a_message_that_is_cut_is_left_as_it_is() {
        let whole = message(16, 16, &[attribute(3, b"v\xffx\0"), attribute(4, b"abcd")]);
        for length in 0..whole.len() {
            drop(mended(&whole[..length]));
        }
        assert!(mended(&message(16, 16, &[vec![0; 4]])).is_some_and(|mended| mended.name.is_none()));
    }
}
