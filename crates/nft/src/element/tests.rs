//! Elements and intervals.

use super::*;

fn keys(elements: &[Element]) -> Vec<(&[u8], u32)> {
    elements.iter().map(|element| (element.key.as_slice(), element.flags)).collect()
}

#[test]
fn an_interval_ends_at_the_key_after_its_last() {
    let pair = Element::new([1, 255]).with_comment("c").interval(&[2, 255]).unwrap();
    assert_eq!(keys(&pair), [(&[1, 255][..], 0), (&[3, 0][..], Element::INTERVAL_END)]);
    assert_eq!((pair[0].comment.as_deref(), &pair[1].comment), (Some("c"), &None));
    assert!(!pair[0].open && pair[1].is_interval_end());
    let single = Element::new([7]).interval(&[7]).unwrap();
    assert_eq!(keys(&single), [(&[7][..], 0), (&[8][..], Element::INTERVAL_END)]);
}

#[test]
fn an_interval_up_to_the_greatest_key_is_open() {
    let open = Element::new([1, 0]).interval(&[255, 255]).unwrap();
    assert_eq!(keys(&open), [(&[1, 0][..], 0)]);
    assert!(open[0].open);
}

#[test]
fn an_interval_must_not_end_before_it_begins() {
    for last in [&[0, 255][..], &[1], &[1, 0, 0]] {
        assert_eq!(Element::new([1, 0]).interval(last), Err(EncodeError::Interval));
        assert_eq!(Element::new([1, 0]).with_end(last), Err(EncodeError::Interval));
    }
    assert_eq!(Element::new([]).interval(&[]), Err(EncodeError::Interval));
    assert!(Element::new([1, 0]).with_end([1, 0]).is_ok());
}

#[test]
fn a_catchall_element_has_no_key_and_another_must() {
    let catchall = Element { flags: Element::CATCHALL, ..Element::default() };
    assert_eq!(catchall.put(&mut Writer::default()), Ok(()));
    let refused = EncodeError::ValueLength { length: 0 };
    assert_eq!(Element::default().put(&mut Writer::default()), Err(refused));
}

#[test]
#[cfg(target_endian = "little")]
fn comments_and_open_intervals_are_noted_as_by_nft() {
    let entries = |element: Element| element.userdata().unwrap();
    let open = Element::new([0]).interval(&[255]).unwrap().remove(0);
    assert_eq!(entries(open.with_comment("x")), Entries::from([(0, b"x\0".to_vec()), (1, vec![1, 0, 0, 0])]));
    let long = Element { open: true, ..Element::new([0]).with_comment("x".repeat(248)) };
    assert_eq!(long.userdata(), Err(EncodeError::Comment { length: 248, limit: 247 }));
}
