//! Which sets a point is in, in one look: what a followed packet's crossing asks of its point, and of the one before.
//!
//! A comparison each would take as many instructions, and the verifier would go on with each point on its own from there: of a bit
//! it remembers nothing.

use crate::{Point, Points};

/// The sets that a point is in, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership(u32);

macro_rules! sets {
    ($($name:ident = $points:expr;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "places of the constants of the same names")]
        enum Place { $($name),* }

        impl Membership {
            $(
                /// The bit of the set of this name, or of the point.
                pub const $name: u32 = 1 << Place::$name as u32;
            )*
            const SETS: &[Points] = &[$($points),*];
        }
    };
}

sets! {
    QUEUE = Points::of_one(Point::Queue);
    ENQUEUE = Points::of_one(Point::Enqueue);
    XMIT = Points::of_one(Point::Xmit);
    XMIT_END = Points::of_one(Point::XmitEnd);
    REQUEUE = Points::of_one(Point::Requeue);
    RX = Points::of_one(Point::Rx);
    GRO = Points::of_one(Point::Gro);
    RECEIVE = Points::of_one(Point::Receive);
    ROUTE = Points::of_one(Point::Route);
    COPY = Points::of_one(Point::Copy);
    EXECUTE = Points::of_one(Point::Execute);
    BEGIN = Points::BEGIN;
    BEGIN_MADE = Points::BEGIN_MADE;
    BEGIN_OUTSIDE = Points::BEGIN_OUTSIDE;
    BEGIN_FROM_WIRE = Points::BEGIN_FROM_WIRE;
    BEGIN_FROM_TUN = Points::BEGIN_FROM_TUN;
    BEGIN_WITHOUT_GRO = Points::BEGIN_WITHOUT_GRO;
    PASS_ON = Points::PASS_ON;
    WITH_STRANGERS = Points::WITH_STRANGERS;
    QUEUED = Points::QUEUED;
    TRANSMITTED = Points::TRANSMITTED;
    RECEIVED = Points::RECEIVED;
    IN_GRO = Points::IN_GRO;
    TO_READER = Points::TO_READER;
    DEVICE_FROM_PACKET = Points::DEVICE_FROM_PACKET;
    DEVICE_FROM_SOCKET = Points::DEVICE_FROM_SOCKET;
    DEVICE_FROM_ARGUMENT = Points::DEVICE_FROM_ARGUMENT;
    CLONES_BEGIN = Points::CLONES_BEGIN;
    CLONES_END = Points::CLONES_END;
}

const _: () = assert!(Membership::SETS.len() <= u32::BITS as usize, "more sets than bits");

impl Membership {
    /// By the number of a point.
    pub const OF: [Self; 32] = {
        let (mut table, mut point) = ([Self(0); 32], 0);
        while point < Point::ALL.len() {
            let mut set = 0;
            while set < Self::SETS.len() {
                table[point].0 |= (Self::SETS[set].has(point as u32) as u32) << set;
                set += 1;
            }
            point += 1;
        }
        table
    };

    /// That of the point with a number below 32.
    #[inline(always)]
    pub const fn of(number: usize) -> Self {
        Self::OF[number & 31]
    }

    /// Whether the point is in one of these sets.
    #[inline(always)]
    pub const fn is(self, sets: u32) -> bool {
        self.0 & sets != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_in_the_sets_that_have_it_and_in_no_other() {
        for point in Point::ALL {
            let here = Membership::of(*point as usize);
            assert_eq!(here.is(Membership::QUEUE), matches!(point, Point::Queue));
            assert_eq!(here.is(Membership::RECEIVED), point.is_in(Points::RECEIVED));
            assert_eq!(here.is(Membership::CLONES_END), point.is_in(Points::CLONES_END));
            assert_eq!(here.is(Membership::QUEUE | Membership::XMIT), matches!(point, Point::Queue | Point::Xmit));
        }
        assert!(!Membership::of(31).is(u32::MAX), "no point has this number");
    }
}
