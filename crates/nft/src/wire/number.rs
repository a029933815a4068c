//! Tables of the kernel's numbers, as types.

/// Declares an enumeration whose variants are numbers of the kernel's; `$wire` is what its attribute holds.
macro_rules! numbered {
    ($(#[$doc:meta])* pub enum $name:ident: $wire:ty {
        $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($wire)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)*
        }

        impl $name {
            /// All there are, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The kernel's number for it.
            pub const fn number(self) -> $wire {
                self as $wire
            }

            /// The one with this number.
            pub const fn from_number(number: $wire) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl $crate::wire::Value for $name {
            fn put(&self, writer: &mut $crate::wire::Writer, attribute: u16) -> $crate::error::Encoded {
                self.number().put(writer, attribute)
            }

            fn get(bytes: &[u8]) -> Option<Self> {
                Self::from_number(<$wire as $crate::wire::Value>::get(bytes)?)
            }
        }

        #[cfg(test)]
        impl $crate::sample::Sample for $name {
            fn sample() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy;
                proptest::sample::select(Self::ALL).boxed()
            }
        }
    };
}

/// Declares a word of flags; an attribute that is not there means none.
macro_rules! flags {
    ($(#[$doc:meta])* pub struct $name:ident: $wire:ty {
        $($(#[$flag_doc:meta])* $flag:ident = $number:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $wire);

        impl $name {
            $($(#[$flag_doc])* pub const $flag: Self = Self($number);)*

            /// Whether all of these flags are set.
            pub const fn contains(self, flags: Self) -> bool {
                self.0 & flags.0 == flags.0
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl $crate::wire::Value for $name {
            fn put(&self, writer: &mut $crate::wire::Writer, attribute: u16) -> $crate::error::Encoded {
                if self.0 == 0 { Ok(()) } else { self.0.put(writer, attribute) }
            }

            fn get(bytes: &[u8]) -> Option<Self> {
                <$wire as $crate::wire::Value>::get(bytes).map(Self)
            }

            fn absent() -> Option<Self> {
                Some(Self(0))
            }
        }

        #[cfg(test)]
        impl $crate::sample::Sample for $name {
            fn sample() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy;
                proptest::arbitrary::any::<$wire>().prop_map(Self).boxed()
            }
        }
    };
}

pub(crate) use {flags, numbered};
