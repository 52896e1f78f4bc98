//! How journeys end. The only list of them.

use crate::named;

named! {
    /// How a journey ended.
    #[derive(Default)]
    pub enum End;
    #[default]
    Open "open" "it is still on its way";
    Copied "copied" "all its bytes were copied to a reader";
    Absorbed "absorbed" "the kernel itself used it up after its last crossing (an acknowledgement, a merged segment), or a device took it";
    Consumed "consumed" "`consume_skb`";
    Dropped "dropped" "it was dropped, with a reason";
    Merged "merged" "its data went on in another skb, where it could not be followed";
    Taken "taken" "a reader took its data without copying them: splice, sendfile, MSG_TRUNC";
}

impl End {
    /// Whether a reader got the packet's data.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Copied | Self::Taken)
    }
}
