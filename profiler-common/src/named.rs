//! Enumerations whose values have names: one macro makes them all, so that each is one table and nothing else.

/// What every named enumeration can do; for code that serves all of them.
pub trait Named: Copy + Eq + 'static {
    /// What it is called in messages about a name that it does not have.
    const TYPE: &'static str;

    /// Every value, in the order of numbers.
    const VALUES: &'static [Self];

    /// The name in profiles, output and documents.
    fn name(self) -> &'static str;

    /// The value of a name, or `None`.
    fn from_name(name: &str) -> Option<Self> {
        Self::VALUES.iter().copied().find(|value| value.name() == name)
    }
}

/// Makes an enumeration from rows of a variant, its name and what it is:
///
/// ```text
/// named! {
///     /// How fast.
///     pub enum Pace;
///     Slow "slow" "like a snail";
///     Fast "fast" "like a hare";
/// }
/// ```
///
/// Numbers are those of the rows, from 0 on. What else is true of a value stands in its row, as the fields of a structure
/// that `info` gives (`..BASE` gives the usual ones):
///
/// ```text
/// named! {
///     /// How fast.
///     pub enum Pace: PaceInfo;
///     Slow "slow" "like a snail" { legs: 0 };
///     Fast "fast" "like a hare" { legs: 4 };
/// }
/// ```
///
/// In profiles and JSON a value is its name; a name that is none is an error there.
#[macro_export]
macro_rules! named {
    (
        $(#[$attribute:meta])* pub enum $name:ident: $info:ident;
        $($(#[$of_row:meta])* $variant:ident $text:literal $about:literal { $($field:tt)* };)*
    ) => {
        $crate::named! {
            $(#[$attribute])* pub enum $name;
            $($(#[$of_row])* $variant $text $about;)*
        }

        impl $name {
            const INFO: &'static [$info] = &[$($info { $($field)* },)*];

            /// What else is true of it.
            #[inline(always)]
            pub const fn info(self) -> &'static $info {
                &Self::INFO[self as usize]
            }
        }
    };
    (
        $(#[$attribute:meta])* pub enum $name:ident;
        $($(#[$of_row:meta])* $variant:ident $text:literal $about:literal;)*
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$of_row])* #[doc = $about] $variant,)* }

        impl $name {
            /// Every value, in the order of numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// For every number the value, if there is one: a program that looks here needs no bound, which the verifier of 6.1
            /// forgets when the compiler puts the number aside before it compares it.
            const BY_ID: &'static [Option<Self>; 256] = &{
                let mut all = [None; 256];
                let mut id = 0;
                while id < Self::ALL.len() {
                    all[id] = Some(Self::ALL[id]);
                    id += 1;
                }
                all
            };
            const NAMES: &'static [&'static str] = &[$($text,)*];
            const ABOUT: &'static [&'static str] = &[$($about,)*];

            /// The name in profiles, output and documents.
            pub const fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }

            /// What it is, in a line.
            pub const fn about(self) -> &'static str {
                Self::ABOUT[self as usize]
            }

            /// The value of a name, or `None`.
            pub fn from_name(name: &str) -> Option<Self> {
                <Self as $crate::Named>::from_name(name)
            }

            /// The value of a number that a kernel program wrote, or `None`.
            #[inline(always)]
            pub const fn from_id(id: u8) -> Option<Self> {
                Self::BY_ID[id as usize]
            }
        }

        impl $crate::Named for $name {
            const TYPE: &'static str = stringify!($name);
            const VALUES: &'static [Self] = Self::ALL;

            fn name(self) -> &'static str {
                Self::name(self)
            }
        }

        $crate::serialized!($name);
        const _: () = $crate::check_names($name::NAMES);
    };
}
/// Refuses at compile time a table in which a name is missing or stands twice.
#[doc(hidden)]
pub const fn check_names(names: &[&str]) {
    let mut at = 0;
    while at < names.len() {
        assert!(!names[at].is_empty(), "a row has no name");
        let mut other = 0;
        while other < at {
            assert!(!equal(names[at].as_bytes(), names[other].as_bytes()), "a name stands twice");
            other += 1;
        }
        at += 1;
    }
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A value as its name in serialized data.
#[cfg(feature = "user")]
#[doc(hidden)]
#[macro_export]
macro_rules! serialized {
    ($name:ident) => {
        impl $crate::by_name::Serialize for $name {
            fn serialize<S: $crate::by_name::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> $crate::by_name::Deserialize<'de> for $name {
            fn deserialize<D: $crate::by_name::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::by_name::read(deserializer)
            }
        }
    };
}

/// The kernel programs serialize nothing.
#[cfg(not(feature = "user"))]
#[doc(hidden)]
#[macro_export]
macro_rules! serialized {
    ($name:ident) => {};
}

/// What `serialized` needs where it is used.
#[cfg(feature = "user")]
#[doc(hidden)]
pub mod by_name {
    use core::{fmt, marker::PhantomData};

    use serde::de::{Error, Unexpected, Visitor};
    pub use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Named;

    pub fn read<'de, T: Named, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(Name(PhantomData))
    }

    struct Name<T>(PhantomData<T>);

    impl<T: Named> Visitor<'_> for Name<T> {
        type Value = T;

        fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(text, "a {} that this netstrata knows", T::TYPE)
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
            T::from_name(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    named! {
        /// How fast.
        #[derive(Default)]
        pub enum Pace: PaceInfo;
        Slow "slow" "like a snail" { legs: 0 };
        #[default]
        Fast "fast" "like a hare" { legs: 4 };
    }

    /// What is true of a pace.
    pub struct PaceInfo {
        legs: u8,
    }

    #[test]
    fn numbers_and_names_lead_back_and_others_lead_nowhere() {
        for (index, pace) in Pace::ALL.iter().copied().enumerate() {
            assert_eq!(pace as usize, index);
            assert_eq!(Pace::from_id(index as u8), Some(pace));
            assert_eq!(Pace::from_name(pace.name()), Some(pace));
        }
        assert_eq!((Pace::from_id(2), Pace::from_id(u8::MAX)), (None, None));
        assert_eq!((Pace::from_name("Slow"), Pace::from_name("")), (None, None));
        assert_eq!(Pace::default(), Pace::Fast);
    }

    #[test]
    fn a_row_holds_what_is_true_of_its_value() {
        assert_eq!((Pace::Slow.about(), Pace::Slow.info().legs), ("like a snail", 0));
        assert_eq!((Pace::Fast.about(), Pace::Fast.info().legs), ("like a hare", 4));
    }

    #[test]
    #[should_panic = "a name stands twice"]
    fn a_name_that_stands_twice_is_refused() {
        super::check_names(&["a", "b", "a"]);
    }

    #[test]
    #[should_panic = "a row has no name"]
    fn a_name_that_is_missing_is_refused() {
        super::check_names(&["a", ""]);
    }
}
