//! Lists of expressions (`enum nft_list_attributes`, `enum nft_expr_attributes`).

use super::Expr;
use crate::error::{DecodeError, Encoded};
use crate::wire::{Attributes, NFTA_LIST_ELEM, Value, Writer};

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

/// Appends each expression as an element of a list.
pub(crate) fn put_elements(writer: &mut Writer, exprs: &[Expr]) -> Encoded {
    exprs.iter().try_for_each(|expr| expr.put(writer, NFTA_LIST_ELEM))
}

/// Appends one expression as `[one, list]`'s first attribute, several as its second.
pub(crate) fn put_one_or_more(writer: &mut Writer, [one, list]: [u16; 2], exprs: &[Expr]) -> Encoded {
    match exprs {
        [] => Ok(()),
        [single] => single.put(writer, one),
        several => writer.nest(list, |writer| put_elements(writer, several)),
    }
}

/// Reads a list.
pub(crate) fn decode(elements: Attributes<'_>) -> Result<Vec<Expr>, DecodeError> {
    elements.map(|element| decode_one(element?.nested(), Expr::from_attributes)).collect()
}

/// Reads an expression's name and attributes, and lets `build` make it of them.
fn decode_one(
    attributes: Attributes<'_>,
    build: impl FnOnce(String, &[u8]) -> Expr,
) -> Result<Expr, DecodeError> {
    let (mut name, mut data) = (None, &[][..]);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.number {
            NFTA_EXPR_NAME => name = Some(attribute.read()?),
            NFTA_EXPR_DATA => data = attribute.value,
            _ => {}
        }
    }
    Ok(build(name.ok_or(DecodeError::Missing("NFTA_EXPR_NAME"))?, data))
}

impl Value for Expr {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        writer.nest(attribute, |writer| {
            self.name().to_owned().put(writer, NFTA_EXPR_NAME)?;
            match self {
                Self::Unknown { attributes, .. } => writer.nest(NFTA_EXPR_DATA, |writer| {
                    writer.bytes.extend_from_slice(attributes);
                    Ok(())
                }),
                known => writer.nest(NFTA_EXPR_DATA, |writer| known.put_attributes(writer)),
            }
        })
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        decode_one(Attributes(bytes), nested).ok()
    }
}

/// An element's own expressions; none if the attribute is not there.
impl Value for Vec<Expr> {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        if self.is_empty() {
            return Ok(());
        }
        writer.nest(attribute, |writer| put_elements(writer, self))
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        Attributes(bytes).map(|element| Expr::get(element.ok()?.value)).collect()
    }

    fn absent() -> Option<Self> {
        Some(vec![])
    }
}

/// An expression within another. The kernel allows no `dynset` there, and following them to any depth would let a
/// datagram exhaust the stack.
fn nested(name: String, attributes: &[u8]) -> Expr {
    if name == "dynset" {
        return Expr::Unknown { name, attributes: attributes.to_vec() };
    }
    Expr::from_attributes(name, attributes)
}
