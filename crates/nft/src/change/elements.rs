//! Elements, in as many messages as they need (`enum nft_set_elem_list_attributes`).

use crate::element::Element;
use crate::error::{DecodeError, EncodeError, Encoded};
use crate::family::Family;
use crate::set::SetRef;
use crate::wire::message::Header;
use crate::wire::{Attributes, Value, Writer};

const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
/// The longest a list of elements can be, in bytes, without its header.
const LIST_LIMIT: usize = u16::MAX as usize - 4;

/// Appends the attributes that name a set.
pub(crate) fn put_set(writer: &mut Writer, set: &SetRef) -> Encoded {
    set.table.put(writer, NFTA_SET_ELEM_LIST_TABLE)?;
    set.name.put(writer, NFTA_SET_ELEM_LIST_SET)?;
    set.id.put(writer, NFTA_SET_ELEM_LIST_SET_ID)
}

/// Appends messages with this header for all elements; the result is where each begins.
pub(crate) fn put_messages(
    writer: &mut Writer,
    header: Header,
    (set, elements): (&SetRef, &[Element]),
) -> Result<Vec<usize>, EncodeError> {
    let (mut starts, mut rest) = (vec![], elements);
    while !rest.is_empty() {
        starts.push(writer.bytes.len());
        writer.message(header, |writer| {
            put_set(writer, set)?;
            rest = put_list(writer, rest)?;
            Ok(())
        })?;
    }
    Ok(starts)
}

/// Appends one message with this header for all elements.
pub(crate) fn put_message(
    writer: &mut Writer,
    header: Header,
    (set, elements): (&SetRef, &[Element]),
) -> Encoded {
    writer.message(header, |writer| {
        put_set(writer, set)?;
        writer.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |writer| put_all(writer, elements))
    })
}

/// Appends a list of as many elements as one attribute holds; the result is the others.
fn put_list<'a>(writer: &mut Writer, elements: &'a [Element]) -> Result<&'a [Element], EncodeError> {
    let mut rest = elements;
    writer.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |writer| {
        let start = writer.bytes.len();
        while let Some((unit, others)) = split_unit(rest) {
            let before = writer.bytes.len();
            put_all(writer, unit)?;
            // A unit that is alone stays, so that the list's length is refused as an error.
            if writer.bytes.len() - start > LIST_LIMIT && before > start {
                writer.bytes.truncate(before);
                break;
            }
            rest = others;
        }
        Ok(())
    })?;
    Ok(rest)
}

fn put_all(writer: &mut Writer, elements: &[Element]) -> Encoded {
    elements.iter().try_for_each(|element| element.put(writer))
}

/// Takes an element from the front, with the one that ends its interval: the two are not to come into different
/// messages.
fn split_unit(elements: &[Element]) -> Option<(&[Element], &[Element])> {
    let ends = elements.get(1).is_some_and(Element::is_interval_end);
    elements.split_at_checked(if ends { 2 } else { 1 })
}

/// Reads a set's name and elements; `None` in place of the elements if there is no list of them.
pub(crate) fn decode(
    family: Family,
    attributes: Attributes<'_>,
) -> Result<(SetRef, Option<Vec<Element>>), DecodeError> {
    let (mut table, mut name, mut id, mut elements) = (None, None, None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.number {
            NFTA_SET_ELEM_LIST_TABLE => table = Some(attribute.read()?),
            NFTA_SET_ELEM_LIST_SET => name = Some(attribute.read()?),
            NFTA_SET_ELEM_LIST_SET_ID => id = Some(attribute.read()?),
            NFTA_SET_ELEM_LIST_ELEMENTS => elements = Some(decode_list(attribute.nested())?),
            _ => {}
        }
    }
    let table = table.ok_or(DecodeError::Missing("NFTA_SET_ELEM_LIST_TABLE"))?;
    let name = name.ok_or(DecodeError::Missing("NFTA_SET_ELEM_LIST_SET"))?;
    Ok((SetRef { family, table, name, id }, elements))
}

fn decode_list(list: Attributes<'_>) -> Result<Vec<Element>, DecodeError> {
    list.map(|element| Element::decode(element?.nested())).collect()
}
