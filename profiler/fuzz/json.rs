//! Changes of a document that leave it one: letters that are changed at random seldom do, and what is no document is refused at once.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::Value;

/// Changes the first `size` bytes, of which there may be `most` then.
pub fn change(bytes: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut chance = Chance(u64::from(seed) | 1 << 32);
    let document: Option<Value> = serde_json::from_slice(&bytes[..size]).ok();
    let Some(mut document) = document.filter(|_| chance.below(8) != 0) else { return fuzzer_mutate(bytes, size, most) };
    for _ in 0..=chance.below(3) {
        let others = document.clone();
        let place = chance.below(count(&document));
        let mut left = place;
        if let Some(value) = at(&mut document, &mut left) {
            alter(value, &others, &mut chance);
        }
    }
    let text = document.to_string();
    if text.len() > most {
        return fuzzer_mutate(bytes, size, most);
    }
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    text.len()
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}

/// Values of a document, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value behind so many others.
fn at<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|inner| at(inner, left)),
        Value::Object(fields) => fields.values_mut().find_map(|inner| at(inner, left)),
        _ => None,
    }
}

fn alter(value: &mut Value, others: &Value, chance: &mut Chance) {
    match value {
        Value::Number(number) => {
            let near = number.as_u64().unwrap_or(0);
            let numbers =
                [0, 1, 2, 63, 64, 65_535, u64::from(u32::MAX), 1 << 53, 1 << 60, (1 << 62) - 1, near + 1, near / 2];
            *value = match chance.below(numbers.len() + 4) {
                at if at < numbers.len() => numbers[at].into(),
                at if at == numbers.len() => (near.saturating_sub(1)).into(),
                at if at == numbers.len() + 1 => (chance.below(64) as u64).into(),
                at if at == numbers.len() + 2 => 0.5.into(),
                _ => 1e-300.into(),
            };
        }
        Value::Array(list) if !list.is_empty() => {
            let (one, other) = (chance.below(list.len()), chance.below(list.len()));
            match chance.below(4) {
                0 => drop(list.remove(one)),
                1 => list.insert(other, list[one].clone()),
                2 => list.swap(one, other),
                _ => list.truncate(one),
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            let name = fields.keys().nth(chance.below(fields.len())).cloned().unwrap_or_default();
            match chance.below(3) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(name, anything(others, chance))),
                _ => {
                    let taken = fields.remove(&name).unwrap_or_default();
                    fields.insert(chance.below(2000).to_string(), taken);
                }
            }
        }
        Value::String(text) => {
            let words = ["", "0", "18446744073709551615", "veth", "bridge", "nic", "\u{1b}[2J", "a;b 7", "tcp", "read"];
            *text = match (chance.below(words.len() + 1), anything(others, chance)) {
                (at, _) if at < words.len() => words[at].to_owned(),
                (_, Value::String(other)) => other,
                _ => format!("{text}{text}"),
            };
        }
        _ => *value = anything(others, chance),
    }
}

/// Some value that stands elsewhere.
fn anything(others: &Value, chance: &mut Chance) -> Value {
    let mut left = chance.below(count(others));
    let mut others = others.clone();
    at(&mut others, &mut left).map(Value::take).unwrap_or_default()
}
