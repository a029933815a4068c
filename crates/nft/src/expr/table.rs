//! What makes the enumeration of expressions, and their encoding and decoding, out of one table.

/// Each entry of the table: `Variant = "the kernel's name" { attribute field: type, … }`. Before come, as
/// `(attribute: value)`, those that are not written and must have that value if the kernel sends them.
macro_rules! expressions {
    ($(#[$doc:meta])* pub enum $enum:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $name:literal $(($fixed:literal: $fixed_value:literal))? {
            $($(#[$field_doc:meta])* $attribute:literal $field:ident: $type:ty,)*
        })*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $enum {
            $($(#[$variant_doc])* $variant {
                $($(#[$field_doc])* $field: $type,)*
            },)*
            /// An expression with a name, an attribute or a number that this crate does not know. It is written as
            /// it was read.
            Unknown {
                /// The kernel's name for it (`NFTA_EXPR_NAME`).
                name: String,
                /// Its attributes' bytes (what `NFTA_EXPR_DATA` holds).
                attributes: Vec<u8>,
            },
        }

        impl $enum {
            /// The kernel's name for it.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                    Self::Unknown { name, .. } => name,
                }
            }

            pub(super) fn put_attributes(&self, writer: &mut Writer) -> Encoded {
                match self {
                    $(Self::$variant { $($field),* } => {
                        $($field.put(writer, $attribute)?;)*
                    })*
                    Self::Unknown { .. } => {}
                }
                Ok(())
            }

            /// The first entry of this name that the attributes fit.
            pub(super) fn from_attributes(name: String, attributes: &[u8]) -> Self {
                $(if name == $name {
                    $(let mut $field: Option<$type> = None;)*
                    let fits = Attributes(attributes).all(|item| item.is_ok_and(|item| match item.number {
                        $($attribute => {
                            $field = Value::get(item.value);
                            $field.is_some()
                        })*
                        $($fixed => <u32 as Value>::get(item.value) == Some($fixed_value),)?
                        // The kernel pads 8-byte numbers with empty attributes (`NFTA_*_PAD`) on some hosts.
                        _ => item.value.is_empty(),
                    }));
                    let fields = ($($field.or_else(Value::absent),)*);
                    if let (true, ($(Some($field),)*)) = (fits, fields) {
                        return Self::$variant { $($field),* };
                    }
                })*
                Self::Unknown { name, attributes: attributes.to_vec() }
            }

            /// One strategy for each entry of the table.
            #[cfg(test)]
            pub(crate) fn samples() -> Vec<proptest::strategy::BoxedStrategy<Self>> {
                use proptest::strategy::{Just, Strategy};
                vec![$((Just(()), $(<$type as Sample>::sample(),)*)
                    .prop_map(|((), $($field,)*)| Self::$variant { $($field),* })
                    .boxed(),)*]
            }
        }
    };
}

pub(super) use expressions;
