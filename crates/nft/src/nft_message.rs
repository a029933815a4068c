//! nf_tables' messages (`enum nf_tables_msg_types`), and those of nfnetlink's batches.

pub(crate) const NEWTABLE: u8 = 0;
pub(crate) const GETTABLE: u8 = 1;
pub(crate) const DELTABLE: u8 = 2;
pub(crate) const NEWCHAIN: u8 = 3;
pub(crate) const GETCHAIN: u8 = 4;
pub(crate) const DELCHAIN: u8 = 5;
pub(crate) const NEWRULE: u8 = 6;
pub(crate) const GETRULE: u8 = 7;
pub(crate) const DELRULE: u8 = 8;
pub(crate) const NEWSET: u8 = 9;
pub(crate) const GETSET: u8 = 10;
pub(crate) const DELSET: u8 = 11;
pub(crate) const NEWSETELEM: u8 = 12;
pub(crate) const GETSETELEM: u8 = 13;
pub(crate) const DELSETELEM: u8 = 14;
pub(crate) const NEWGEN: u8 = 15;
pub(crate) const GETGEN: u8 = 16;
pub(crate) const DESTROYTABLE: u8 = 26;
pub(crate) const DESTROYSETELEM: u8 = 30;

/// Begins a batch (`NFNL_MSG_BATCH_BEGIN`).
pub(crate) const BATCH_BEGIN: u16 = 0x10;
/// Ends a batch (`NFNL_MSG_BATCH_END`).
pub(crate) const BATCH_END: u16 = 0x11;
/// The generation that a batch builds on (`NFNL_BATCH_GENID`).
pub(crate) const NFNL_BATCH_GENID: u16 = 1;
/// The rule set's generation.
pub(crate) const NFTA_GEN_ID: u16 = 1;

/// The type in a message's header: the subsystem's number and the message's.
pub(crate) const fn message_type(message: u8) -> u16 {
    (crate::wire::message::NFNL_SUBSYS_NFTABLES << 8) | message as u16
}
