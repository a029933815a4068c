//! What `nft` 1.0.6 sends (`nft --debug=mnl add set …`) is what is expected here.

use super::DataType::{EtherAddr, Ifname, InetProto, InetService, Ipv4Addr, Ipv6Addr};
use super::*;

#[test]
fn a_concatenation_has_six_bits_for_each_number_and_padded_fields() {
    let port = DataTypes::from([Ifname, InetService]);
    assert_eq!((port.number(), port.length()), (Ok(0xa4d), 20));
    let mac = DataTypes::from([EtherAddr, DataType::Mark]);
    assert_eq!((mac.number(), mac.length()), (Ok(0x253), 12));
    assert_eq!(mac.field_lengths(), [6, 4]);
    assert_eq!(mac.order(), ByteOrder::None);
}

#[test]
fn one_field_is_not_padded() {
    let protocol = DataTypes::from(InetProto);
    assert_eq!((protocol.number(), protocol.length(), protocol.order()), (Ok(12), 1, ByteOrder::None));
    let name = DataTypes::from(Ifname);
    assert_eq!((name.number(), name.length(), name.order()), (Ok(41), 16, ByteOrder::Host));
}

#[test]
fn at_most_five_fields_are_concatenated() {
    assert!(DataTypes(vec![InetProto; 5]).number().is_ok());
    assert!(DataTypes(vec![InetProto; 6]).number().is_err());
    assert!(DataTypes(vec![]).number().is_err());
}

#[test]
fn the_fields_are_found_again() {
    for fields in [vec![Ifname], vec![Ifname, Ipv4Addr], vec![InetProto, Ipv6Addr, InetService]] {
        let types = DataTypes(fields);
        let number = types.number().unwrap();
        assert_eq!(DataTypes::from_kernel(number, types.length(), types.order(), &[]), types);
    }
}

#[test]
fn fields_of_unknown_length_stay_one_unless_the_kernel_says_their_lengths() {
    let number = (4 << 6) | 7;
    let whole = DataType::Other { number, length: 8, order: ByteOrder::None };
    assert_eq!(DataTypes::from_kernel(number, 8, ByteOrder::None, &[]), whole.into());
    let integer = DataType::Integer { length: 2, order: ByteOrder::None };
    let fields = DataTypes::from([integer, Ipv4Addr]);
    assert_eq!(DataTypes::from_kernel(number, 8, ByteOrder::None, &[2, 4]), fields);
}

#[test]
fn a_key_is_split_into_its_fields() {
    let types = DataTypes::from([InetProto, Ipv4Addr, InetService]);
    let key = [6, 0, 0, 0, 10, 0, 0, 1, 0, 80, 0, 0];
    assert_eq!(types.split(&key), Some(vec![&key[..1], &key[4..8], &key[8..10]]));
    assert_eq!(types.split(&key[..11]), None);
    assert_eq!(types.split(&[0; 16]), None);
    assert_eq!(DataTypes::from(InetService).split(&[0, 80]), Some(vec![&key[8..10]]));
}
