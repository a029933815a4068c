//! Expressions that this crate does not know, or not wholly, stay as they are.

use super::*;
use crate::wire::Attribute;

fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.put(number, value).unwrap();
    writer.bytes
}

fn word(number: u16, value: u32) -> Vec<u8> {
    attribute(number, &value.to_be_bytes())
}

fn decoded(name: &str, attributes: &[Vec<u8>]) -> Expr {
    Expr::from_attributes(name.to_owned(), &attributes.concat())
}

fn unknown(name: &str, attributes: &[Vec<u8>]) -> Expr {
    Expr::Unknown { name: name.to_owned(), attributes: attributes.concat() }
}

#[test]
fn the_attributes_decide_between_expressions_of_one_name() {
    let (loads, sets) = ([word(1, 9), word(2, 3)], [word(2, 3), word(3, 9)]);
    let register = Register::word(1);
    assert_eq!(decoded("meta", &loads), Expr::Meta { key: MetaKey::Mark, dreg: register });
    assert_eq!(decoded("meta", &sets), Expr::MetaWrite { key: MetaKey::Mark, sreg: register });
}

#[test]
fn what_is_not_known_stays_as_it_is() {
    let cases: [(&str, Vec<Vec<u8>>); 6] = [
        ("synproxy", vec![word(1, 2)]),
        // An unknown number, an unknown attribute, one that is missing, and ones of another length or form.
        ("meta", vec![word(1, 1), word(2, 1000)]),
        ("counter", vec![attribute(1, &[0; 8]), attribute(2, &[0; 8]), word(9, 1)]),
        ("counter", vec![attribute(1, &[0; 8])]),
        ("lookup", vec![attribute(1, b"s\0"), attribute(2, &[1])]),
        ("counter", vec![vec![1, 2, 3]]),
    ];
    for (name, attributes) in cases {
        let expr = decoded(name, &attributes);
        assert_eq!(expr, unknown(name, &attributes));
        let mut writer = Writer::default();
        expr.put(&mut writer, 1).unwrap();
        assert_eq!(read_back(&writer.bytes), expr);
    }
}

fn read_back(bytes: &[u8]) -> Expr {
    list::decode(Attributes(bytes)).unwrap().remove(0)
}

#[test]
fn padding_attributes_are_nothing() {
    let attributes = [attribute(3, &[]), attribute(1, &[0; 8]), attribute(3, &[]), attribute(2, &[0; 8])];
    assert_eq!(decoded("counter", &attributes), Expr::counter());
}

#[test]
fn a_shift_is_no_mask() {
    let one = vec![0, 0, 0, 1];
    let (register, len) = (Register::quad(1), 4);
    let shift = Expr::Shift { sreg: register, dreg: register, len, op: ShiftOp::Right, amount: one.clone() };
    let mask = Expr::Bitwise { sreg: register, dreg: register, len, mask: one.clone(), xor: one };
    for expr in [shift, mask.clone()] {
        let mut writer = Writer::default();
        expr.put(&mut writer, 1).unwrap();
        assert_eq!(read_back(&writer.bytes), expr);
    }
    // The kernel says also of a mask which operation it is.
    let mut writer = Writer::default();
    mask.put_attributes(&mut writer).unwrap();
    assert_eq!(decoded("bitwise", &[writer.bytes.clone(), word(6, 0)]), mask);
    assert!(matches!(decoded("bitwise", &[writer.bytes, word(6, 1)]), Expr::Unknown { .. }));
}

#[test]
fn expressions_within_expressions_are_not_followed_to_any_depth() {
    // NFTA_DYNSET_EXPR of each is the one before.
    let required = [attribute(1, b"s\0"), word(3, 0), word(4, 1)].concat();
    let mut attributes = required.clone();
    for _ in 0..1400 {
        let expr = Expr::Unknown { name: "dynset".into(), attributes };
        let mut writer = Writer { bytes: required.clone() };
        expr.put(&mut writer, 7).unwrap();
        attributes = writer.bytes;
    }
    let outer = decoded("dynset", &[attributes]);
    let Expr::Dynset { expr: Some(inner), .. } = outer else { panic!() };
    assert!(matches!(*inner, Expr::Unknown { .. }));
}

#[test]
fn a_name_is_needed() {
    let attributes = attribute(1, &attribute(2, &[]));
    assert!(list::decode(Attributes(&attributes)).is_err());
    let attribute = Attribute { number: 1, value: &[] };
    assert!(attribute.read::<Expr>().is_err());
}

#[test]
fn registers_have_the_kernels_numbers() {
    let words: Vec<u32> = (0..17).map(|n| Register::word(n).0).collect();
    assert_eq!(words, [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 23]);
    assert_eq!([0, 1, 4, 5].map(|n| Register::quad(n).0), [1, 1, 4, 4]);
}
