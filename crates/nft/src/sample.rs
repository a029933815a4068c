//! Values of all kinds, for tests of properties.

use proptest::arbitrary::any;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::strategy::BoxedStrategy;

use crate::*;

/// A type of which tests can have any value that can be encoded.
pub(crate) trait Sample: Sized {
    fn sample() -> BoxedStrategy<Self>;
}

macro_rules! any_value {
    ($($type:ty),*) => {$(
        impl Sample for $type {
            fn sample() -> BoxedStrategy<Self> {
                any::<$type>().boxed()
            }
        }
    )*};
}
any_value!(u8, u16, u32, i32, u64, bool);

impl Sample for String {
    fn sample() -> BoxedStrategy<Self> {
        vec(proptest::char::range('\u{1}', '\u{2fff}'), 0..80).prop_map(Self::from_iter).boxed()
    }
}

impl Sample for Vec<u8> {
    fn sample() -> BoxedStrategy<Self> {
        vec(any::<u8>(), 1..=64).boxed()
    }
}

impl<T: Sample + std::fmt::Debug + 'static> Sample for Option<T> {
    fn sample() -> BoxedStrategy<Self> {
        option::of(T::sample()).boxed()
    }
}

impl Sample for Register {
    fn sample() -> BoxedStrategy<Self> {
        any::<u32>().prop_map(Self).boxed()
    }
}

impl Sample for Timeout {
    fn sample() -> BoxedStrategy<Self> {
        any::<u64>().prop_map(Self).boxed()
    }
}

impl Sample for Verdict {
    fn sample() -> BoxedStrategy<Self> {
        let fixed = [Self::Accept, Self::Drop, Self::Continue, Self::Break, Self::Return];
        prop_oneof![
            proptest::sample::select(fixed.to_vec()),
            String::sample().prop_map(Self::Jump),
            String::sample().prop_map(Self::Goto),
            (2..i32::MAX).prop_map(Self::Other),
        ]
        .boxed()
    }
}

impl Sample for ElementValue {
    fn sample() -> BoxedStrategy<Self> {
        prop_oneof![Vec::sample().prop_map(Self::Bytes), Verdict::sample().prop_map(Self::Verdict)].boxed()
    }
}

/// Such as elements have of their own.
fn stateful() -> impl Strategy<Value = Expr> {
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(packets, bytes)| Expr::Counter { packets, bytes }),
        any::<u32>().prop_map(|count| Expr::Connlimit { count, inverted: true }),
    ]
}

impl Sample for Box<Expr> {
    fn sample() -> BoxedStrategy<Self> {
        stateful().prop_map(Self::new).boxed()
    }
}

impl Sample for Vec<Expr> {
    fn sample() -> BoxedStrategy<Self> {
        vec(stateful(), 0..3).boxed()
    }
}

impl Sample for Expr {
    fn sample() -> BoxedStrategy<Self> {
        let unknown = ("[a-z]{1,9}\\?", vec(any::<u8>(), 0..40))
            .prop_map(|(name, attributes)| Self::Unknown { name, attributes });
        let known = proptest::strategy::Union::new(Self::samples());
        prop_oneof![9 => known, 1 => unknown].boxed()
    }
}

impl Sample for Table {
    fn sample() -> BoxedStrategy<Self> {
        (Family::sample(), String::sample(), any::<u32>(), Option::sample())
            .prop_map(|(family, name, flags, comment)| Self { flags, comment, ..Self::new(family, name) })
            .boxed()
    }
}

impl Sample for Hook {
    fn sample() -> BoxedStrategy<Self> {
        let kind = proptest::sample::select(ChainType::ALL);
        (kind, any::<u32>(), any::<i32>(), Policy::sample(), Option::sample())
            .prop_map(|(kind, number, priority, policy, device)| Self {
                kind,
                number,
                priority,
                policy,
                device,
            })
            .boxed()
    }
}

impl Sample for Chain {
    fn sample() -> BoxedStrategy<Self> {
        (Family::sample(), String::sample(), String::sample(), Option::sample(), Option::sample())
            .prop_map(|(family, table, name, hook, comment)| Self {
                hook,
                comment,
                ..Self::new(family, table, name)
            })
            .boxed()
    }
}

impl Sample for Rule {
    fn sample() -> BoxedStrategy<Self> {
        let place = (Family::sample(), String::sample(), String::sample());
        (place, vec(Expr::sample(), 0..12), Option::sample(), Option::sample(), Option::sample())
            .prop_map(|((family, table, chain), exprs, comment, position, compat_protocol)| Self {
                exprs,
                comment,
                position,
                compat_protocol,
                ..Self::new(family, table, chain)
            })
            .boxed()
    }
}

impl Sample for DataTypes {
    fn sample() -> BoxedStrategy<Self> {
        let other = (200..300_u32, 1..65_u32, ByteOrder::sample()).prop_map(|(number, length, order)| {
            DataType::Other { number: number << 24, length, order }.into()
        });
        let integer = (1..17_u32, ByteOrder::sample())
            .prop_map(|(length, order)| DataType::Integer { length, order }.into());
        let fixed = vec(proptest::sample::select(DataType::FIXED), 1..=5).prop_map(Self);
        prop_oneof![8 => fixed, 1 => other, 1 => integer].boxed()
    }
}

impl Sample for MapValue {
    fn sample() -> BoxedStrategy<Self> {
        let value = DataTypes::sample().prop_map(Self::Value);
        prop_oneof![Just(Self::Verdict), value, any::<u32>().prop_map(Self::Object)].boxed()
    }
}

/// Flags that agree with the rest of the set.
fn agreeing(set: Set) -> Set {
    let value = match &set.value {
        None => SetFlags::default(),
        Some(MapValue::Object(_)) => SetFlags::OBJECT,
        Some(_) => SetFlags::MAP,
    };
    let concat = if set.key.is_concatenation() { SetFlags::CONCAT } else { SetFlags::default() };
    let own = SetFlags(set.flags.0 & !0xc8);
    Set { flags: own | value | concat, ..set }
}

impl Sample for Set {
    fn sample() -> BoxedStrategy<Self> {
        let place = (Family::sample(), String::sample(), String::sample(), DataTypes::sample());
        let numbers =
            (any::<u32>(), SetFlags::sample(), Option::sample(), Option::sample(), Option::sample());
        (
            place,
            numbers,
            Option::sample(),
            "[ -~]{0,99}",
            Vec::<Expr>::sample(),
            option::of(SetPolicy::sample()),
        )
            .prop_map(|(place, numbers, value, comment, exprs, policy)| {
                let (family, table, name, key) = place;
                let (id, flags, size, timeout, gc_interval) = numbers;
                let set = Self::new(family, table, name, key);
                let (comment, userdata) = (Some(comment), vec![(2, vec![1, 0, 0, 0])]);
                agreeing(Self {
                    id,
                    flags,
                    value,
                    size,
                    timeout,
                    gc_interval,
                    comment,
                    exprs,
                    policy,
                    userdata,
                    ..set
                })
            })
            .boxed()
    }
}

impl Sample for SetRef {
    fn sample() -> BoxedStrategy<Self> {
        (Family::sample(), String::sample(), String::sample(), Option::sample())
            .prop_map(|(family, table, name, id)| Self { family, table, name, id })
            .boxed()
    }
}

impl Sample for Element {
    fn sample() -> BoxedStrategy<Self> {
        let keys = (Vec::<u8>::sample(), Option::sample());
        let times = (Option::sample(), Option::sample());
        (
            keys,
            0..2_u32,
            Option::sample(),
            times,
            "[ -~]{0,99}",
            Option::sample(),
            Vec::<Expr>::sample(),
            any::<bool>(),
        )
            .prop_map(
                |((key, key_end), flags, value, (timeout, expiration), comment, object, exprs, open)| {
                    let comment = Some(comment);
                    Self { key, key_end, value, flags, comment, timeout, expiration, object, exprs, open }
                },
            )
            .boxed()
    }
}
