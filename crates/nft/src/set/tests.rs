//! What `nft` 1.0.6 sends (seen with `strace` and `nft --debug=mnl`) is what is expected here.

use super::*;
use crate::DataType::{Ifname, InetService, Ipv4Addr, Mark, NfProto};
use crate::wire::Writer;

fn set(name: &str, id: u32, key: impl Into<DataTypes>) -> Set {
    Set { id, ..Set::new(Family::Inet, "t", name, key) }
}

fn map(name: &str, id: u32, (key, value): (DataTypes, MapValue)) -> Set {
    Set { value: Some(value), flags: SetFlags::MAP, ..set(name, id, key) }
}

/// The attributes, in hexadecimal.
fn encoded(set: &Set) -> String {
    let mut writer = Writer::default();
    set.put(&mut writer).unwrap();
    writer.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[cfg(target_endian = "little")]
fn a_set_of_names_is_sent_as_by_nft() {
    // set s1 { type ifname; comment "sc"; }
    let set = Set { comment: Some("sc".into()), ..set("s1", 1, Ifname) };
    let wanted = "060001007400000007000200733100000800030000000000080004000000002908000500000000100800\
                  0a00000000010f000d00000401000000070373630000";
    assert_eq!(encoded(&set), wanted);
}

#[test]
#[cfg(target_endian = "little")]
fn a_set_of_concatenated_intervals_is_sent_as_by_nft() {
    // set s2 { type ifname . ipv4_addr; flags interval; }
    let flags = SetFlags::INTERVAL | SetFlags::CONCAT;
    let set = Set { flags, ..set("s2", 2, [Ifname, Ipv4Addr]) };
    let wanted = "0600010074000000070002007332000008000300000000840800040000000a4708000500000000140800\
                  0a0000000002200009801c0002800c00018008000100000000100c000180080001000000000414000d00\
                  000400000000030800040d0000000100";
    assert_eq!(encoded(&set), wanted);
}

#[test]
#[cfg(target_endian = "little")]
fn maps_are_sent_as_by_nft() {
    // map m1 { type ipv4_addr : ifname; }
    let wanted = "0600010074000000070002006d3100000800030000000008080004000000000708000500000000040800\
                  060000000029080007000000001008000a000000000416000d0000040200000001040100000006040000\
                  00000000";
    assert_eq!(encoded(&map("m1", 4, (Ipv4Addr.into(), MapValue::Value(Ifname.into())))), wanted);
    // map m2 { type nf_proto : verdict; }
    let wanted = "0600010074000000070002006d3200000800030000000008080004000000000208000500000000010800\
                  0600ffffff00080007000000000008000a000000000516000d0000040000000001040000000006040000\
                  00000000";
    assert_eq!(encoded(&map("m2", 5, (NfProto.into(), MapValue::Verdict))), wanted);
    // map m3 { type ifname . inet_service : ipv4_addr . inet_service; }
    let types = ([Ifname, InetService].into(), MapValue::Value([Ipv4Addr, InetService].into()));
    let wanted = "0600010074000000070002006d33000008000300000000080800040000000a4d08000500000000140800\
                  0600000001cd080007000000000808000a00000000062a000d0000040000000001040000000003080004\
                  0d0000000100040800040d00000001000604000000000000";
    assert_eq!(encoded(&map("m3", 6, types)), wanted);
}

#[test]
#[cfg(target_endian = "little")]
fn a_set_with_size_and_timeout_is_sent_as_by_nft() {
    // set s5 { type ipv4_addr; flags dynamic, timeout; timeout 30s; size 100; }
    let flags = SetFlags::EVAL | SetFlags::TIMEOUT;
    let set = Set { flags, size: Some(100), timeout: Some(30_000), ..set("s5", 8, Ipv4Addr) };
    let wanted = "060001007400000007000200733500000800030000000030080004000000000708000500000000040800\
                  0a00000000080c00098008000100000000640c000b0000000000000075300a000d000004020000000000";
    assert_eq!(encoded(&set), wanted);
}

#[test]
fn flags_that_contradict_the_rest_are_refused() {
    let refused = |set: Set| set.put(&mut Writer::default());
    let with = |flags| Set { flags, ..set("s", 1, [Mark, Mark]) };
    assert!(matches!(refused(with(SetFlags::MAP)), Err(EncodeError::SetFlags { flags: 8, .. })));
    assert!(matches!(refused(with(SetFlags::OBJECT)), Err(EncodeError::SetFlags { .. })));
    assert!(matches!(refused(with(SetFlags::INTERVAL)), Err(EncodeError::SetFlags { .. })));
    let map = Set { value: Some(MapValue::Verdict), ..with(SetFlags::default()) };
    assert!(matches!(refused(map), Err(EncodeError::SetFlags { .. })));
    assert_eq!(refused(with(SetFlags::INTERVAL | SetFlags::CONCAT)), Ok(()));
}

#[test]
fn a_comment_has_what_the_rest_of_the_user_data_leaves() {
    let with = |length| Set { comment: Some("x".repeat(length)), ..set("s", 1, Mark) };
    assert_eq!(with(247).put(&mut Writer::default()), Ok(()));
    let refused = EncodeError::Comment { length: 248, limit: 247 };
    assert_eq!(with(248).put(&mut Writer::default()), Err(refused));
}

#[test]
fn user_data_of_others_stays() {
    let mut set = set("s", 1, [Ipv4Addr, InetService]);
    let mut entries = set.all_userdata().unwrap();
    entries.insert(3, vec![1, 2, 3]);
    entries.insert(2, vec![1, 0, 0, 0]);
    set.take_userdata(entries.clone());
    assert_eq!(set.userdata, [(2, vec![1, 0, 0, 0]), (3, vec![1, 2, 3])]);
    assert_eq!(set.all_userdata(), Ok(entries));
}
