//! Sealing of secrets and wrapping of data keys.

use proptest::prelude::*;
use uuid::Uuid;
use zonecert_pki::seal::MAX_PLAINTEXT_BYTES;
use zonecert_pki::{Binding, DataKey, KeyOwner, MasterKeys, SealError, WrappedDataKey};

/// Base64 of 32 bytes, one for each letter.
fn master_key(letter: char) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(letter.to_string().repeat(32))
}

fn account() -> KeyOwner {
    KeyOwner::Account(Uuid::from_u128(1))
}

fn binding() -> Binding<'static> {
    Binding { owner: account(), table: "key_versions", row: Uuid::from_u128(7), purpose: "private_key" }
}

fn other_bindings() -> Vec<Binding<'static>> {
    let binding = binding();
    vec![
        Binding { owner: KeyOwner::Account(Uuid::from_u128(2)), ..binding },
        Binding { owner: KeyOwner::Platform, ..binding },
        Binding { table: "key_version", ..binding },
        Binding { row: Uuid::from_u128(8), ..binding },
        Binding { purpose: "private_keys", ..binding },
        Binding { purpose: "", ..binding },
    ]
}

#[test]
fn a_sealed_secret_opens_with_the_same_key_and_binding() {
    let key = DataKey::generate().unwrap();
    for secret in [&b""[..], b"x", b"-----BEGIN PRIVATE KEY-----", &[7; 10_000]] {
        let sealed = key.seal(secret, &binding()).unwrap();
        assert_eq!(sealed.len(), 1 + 12 + secret.len() + 16);
        assert_eq!(**key.open(&sealed, &binding()).unwrap(), *secret);
    }
}

#[test]
fn the_same_secret_is_sealed_differently_each_time_and_does_not_show() {
    let key = DataKey::generate().unwrap();
    let secret = b"a secret of some length";
    let (first, second) = (key.seal(secret, &binding()).unwrap(), key.seal(secret, &binding()).unwrap());
    assert_eq!((first[0], second[0]), (1, 1));
    assert_ne!(first[1..13], second[1..13]);
    assert_ne!(first[13..], second[13..]);
    assert!(!first.windows(4).any(|window| window == &secret[..4]));
}

#[test]
fn a_secret_does_not_open_with_another_binding() {
    let key = DataKey::generate().unwrap();
    let sealed = key.seal(b"secret", &binding()).unwrap();
    for other in other_bindings() {
        let refused = key.open(&sealed, &other).unwrap_err();
        assert!(matches!(refused, SealError::NotAuthentic), "{other:?}: {refused}");
    }
}

#[test]
fn a_binding_of_the_same_bytes_cut_elsewhere_is_another_binding() {
    let key = DataKey::generate().unwrap();
    let one = Binding { table: "t", row: Uuid::from_bytes(*b"aaaaaaaaaaaaaaaa"), purpose: "p", ..binding() };
    let other = Binding { table: "ta", row: Uuid::from_bytes(*b"aaaaaaaaaaaaaaap"), purpose: "", ..binding() };
    let sealed = key.seal(b"secret", &one).unwrap();
    assert!(key.open(&sealed, &one).is_ok());
    assert!(matches!(key.open(&sealed, &other), Err(SealError::NotAuthentic)));
}

#[test]
fn a_secret_does_not_open_with_another_data_key() {
    let (key, other) = (DataKey::generate().unwrap(), DataKey::generate().unwrap());
    let sealed = key.seal(b"secret", &binding()).unwrap();
    assert_ne!(key.id(), other.id());
    assert!(matches!(other.open(&sealed, &binding()), Err(SealError::NotAuthentic)));
}

#[test]
fn a_data_key_of_the_same_bytes_under_another_id_opens_nothing() {
    let masters = MasterKeys::parse(&format!("a:{}", master_key('a'))).unwrap();
    let key = DataKey::generate().unwrap();
    let wrapped = masters.wrap(&key, account()).unwrap();
    let relabelled = WrappedDataKey { data_key_id: Uuid::from_u128(9), ..wrapped };
    assert!(matches!(masters.unwrap(&relabelled, account()), Err(SealError::NotAuthentic)));
}

#[test]
fn every_altered_byte_is_noticed() {
    let key = DataKey::generate().unwrap();
    let sealed = key.seal(b"secret", &binding()).unwrap();
    for position in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[position] ^= 0x80;
        match key.open(&altered, &binding()) {
            Err(SealError::UnknownFormat { version }) => assert_eq!((position, version), (0, 0x81)),
            Err(SealError::NotAuthentic) => assert!(position > 0),
            other => panic!("byte {position}: {:?}", other.map(|_| "opened")),
        }
    }
}

#[test]
fn a_value_cut_off_anywhere_or_lengthened_does_not_open() {
    let key = DataKey::generate().unwrap();
    let sealed = key.seal(b"secret", &binding()).unwrap();
    for length in 0..sealed.len() {
        match key.open(&sealed[..length], &binding()) {
            Err(SealError::Truncated) => assert!(length < 29),
            Err(SealError::NotAuthentic) => assert!(length >= 29),
            other => panic!("{length} bytes: {:?}", other.map(|_| "opened")),
        }
    }
    let longer = [&sealed[..], &[0]].concat();
    assert!(matches!(key.open(&longer, &binding()), Err(SealError::NotAuthentic)));
}

#[test]
fn secrets_have_a_bound() {
    let key = DataKey::generate().unwrap();
    let largest = vec![0; MAX_PLAINTEXT_BYTES];
    let sealed = key.seal(&largest, &binding()).unwrap();
    assert_eq!(key.open(&sealed, &binding()).unwrap().len(), MAX_PLAINTEXT_BYTES);
    assert!(matches!(key.seal(&[&largest[..], &[0]].concat(), &binding()), Err(SealError::TooLong)));
    assert!(matches!(key.open(&[&sealed[..], &[0]].concat(), &binding()), Err(SealError::TooLong)));
}

#[test]
fn a_wrapped_data_key_opens_what_it_sealed_before() {
    let masters = MasterKeys::parse(&format!("2026-a:{}", master_key('a'))).unwrap();
    for owner in [account(), KeyOwner::Platform] {
        let key = DataKey::generate().unwrap();
        let sealed = key.seal(b"secret", &binding()).unwrap();
        let wrapped = masters.wrap(&key, owner).unwrap();
        assert_eq!((wrapped.master_key_id.as_str(), wrapped.data_key_id), ("2026-a", key.id()));
        let again = masters.unwrap(&wrapped, owner).unwrap();
        assert_eq!(again.id(), key.id());
        assert_eq!(**again.open(&sealed, &binding()).unwrap(), *b"secret");
    }
}

#[test]
fn a_data_key_does_not_unwrap_for_another_owner_or_when_altered() {
    let masters = MasterKeys::parse(&format!("a:{}", master_key('a'))).unwrap();
    let wrapped = masters.wrap(&DataKey::generate().unwrap(), account()).unwrap();
    for other in [KeyOwner::Platform, KeyOwner::Account(Uuid::from_u128(2))] {
        assert!(matches!(masters.unwrap(&wrapped, other), Err(SealError::NotAuthentic)));
    }
    for position in 1..wrapped.bytes.len() {
        let mut altered = wrapped.clone();
        altered.bytes[position] ^= 1;
        assert!(matches!(masters.unwrap(&altered, account()), Err(SealError::NotAuthentic)));
    }
}

#[test]
fn after_a_rotation_the_new_key_wraps_and_the_old_one_still_unwraps() {
    let old = MasterKeys::parse(&format!("old:{}", master_key('o'))).unwrap();
    let both = MasterKeys::parse(&format!("new:{},old:{}", master_key('n'), master_key('o'))).unwrap();
    let new = MasterKeys::parse(&format!("new:{}", master_key('n'))).unwrap();
    assert_eq!((old.current_id(), both.current_id()), ("old", "new"));

    let key = DataKey::generate().unwrap();
    let sealed = key.seal(b"secret", &binding()).unwrap();
    let wrapped_before = old.wrap(&key, account()).unwrap();
    let key = both.unwrap(&wrapped_before, account()).unwrap();
    let wrapped_again = both.wrap(&key, account()).unwrap();
    assert_eq!(wrapped_again.master_key_id, "new");
    let key = new.unwrap(&wrapped_again, account()).unwrap();
    assert_eq!(**key.open(&sealed, &binding()).unwrap(), *b"secret");

    let refused = new.unwrap(&wrapped_before, account()).err().unwrap();
    assert!(matches!(&refused, SealError::UnknownMasterKey { id } if id == "old"), "{refused}");
    assert!(refused.to_string().contains("rotate-keys"), "{refused}");
    let mislabelled = WrappedDataKey { master_key_id: "new".to_owned(), ..wrapped_before };
    assert!(matches!(both.unwrap(&mislabelled, account()), Err(SealError::NotAuthentic)));
}

#[test]
fn a_wrapped_data_key_and_a_sealed_secret_cannot_take_each_others_place() {
    use base64::Engine as _;
    let masters = MasterKeys::parse(&format!("a:{}", master_key('a'))).unwrap();
    let key = DataKey::generate().unwrap();
    let posing = WrappedDataKey { data_key_id: key.id(), master_key_id: "a".to_owned(), bytes: key.seal(&[1; 32], &binding()).unwrap() };
    assert!(matches!(masters.unwrap(&posing, account()), Err(SealError::NotAuthentic)));
    let text = base64::engine::general_purpose::STANDARD.encode(&masters.wrap(&key, account()).unwrap().bytes);
    assert!(MasterKeys::parse(&format!("a:{text}")).is_err());
}

#[test]
fn master_keys_are_read_with_blanks_line_ends_and_without_padding() {
    let (a, b) = (master_key('a'), master_key('b'));
    for text in [format!("a:{a},b:{b}"), format!(" a:{a} ,\n b:{b}\n"), format!("a:{},b: {b}", a.trim_end_matches('='))] {
        let masters = MasterKeys::parse(&text).unwrap();
        assert_eq!(masters.current_id(), "a");
        let wrapped = MasterKeys::parse(&format!("b:{b}")).unwrap().wrap(&DataKey::generate().unwrap(), account()).unwrap();
        assert!(masters.unwrap(&wrapped, account()).is_ok());
    }
}

#[test]
fn malformed_master_keys_are_refused_with_position_and_remedy_and_without_the_key() {
    use base64::Engine as _;
    let (a, b) = (master_key('a'), master_key('b'));
    let engine = base64::engine::general_purpose::STANDARD;
    let (short, long, huge) = (engine.encode([7; 31]), engine.encode([7; 33]), engine.encode([7; 300]));
    let no_id = "its id is not 1 to 32 letters, digits, hyphens and underscores";
    let length = "its key does not have 32 bytes";
    let cases = [
        (a.clone(), 1, "there is no colon between id and key"),
        (format!("a:{a},{b}"), 2, "there is no colon between id and key"),
        (format!("a:{a},"), 2, "there is no colon between id and key"),
        (format!(":{a}"), 1, no_id),
        (format!("{a}:a"), 1, no_id),
        (format!("{}:a", a.trim_end_matches('=')), 1, no_id),
        (format!("a b:{a}"), 1, no_id),
        (format!("a:{short}"), 1, length),
        (format!("a:{long}"), 1, length),
        (format!("a:{huge}"), 1, length),
        ("a:".to_owned(), 1, length),
        (format!("a:{}", a.replace('Y', "-")), 1, "its key is not base64"),
        (format!("a:b:{a}"), 1, "its key is not base64"),
        (format!("a:{a}:{b}"), 1, length),
        (format!("a:{a},b:{b},a:{b}"), 3, "its id is taken by an earlier one"),
        (format!("a:{a},b:{a}"), 2, "it is the same key as an earlier one"),
    ];
    for (text, expected_position, expected_reason) in cases {
        let refused = MasterKeys::parse(&text).err().unwrap();
        let SealError::BadMasterKey { position, reason } = &refused else { panic!("{refused}") };
        assert_eq!((*position, *reason), (expected_position, expected_reason));
        let shown = format!("{refused} {refused:?}");
        assert!(shown.contains("openssl rand -base64 32"), "{shown}");
        for key in [&a, &b, &short, &long] {
            assert!(!shown.contains(&key[..8]), "{shown}");
        }
    }
    for text in ["", "  \n"] {
        let refused = MasterKeys::parse(text).err().unwrap();
        assert!(matches!(refused, SealError::NoMasterKey), "{refused}");
        assert!(refused.to_string().contains("openssl rand -base64 32"));
    }
}

prop_compose! {
    fn any_owner()(id in proptest::option::of(any::<u128>())) -> KeyOwner {
        id.map_or(KeyOwner::Platform, |id| KeyOwner::Account(Uuid::from_u128(id)))
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_again(
        secret in prop::collection::vec(any::<u8>(), 0..2000),
        owner in any_owner(),
        table in ".*",
        row in any::<u128>(),
        purpose in ".*",
    ) {
        let key = DataKey::generate().unwrap();
        let binding = Binding { owner, table: &table, row: Uuid::from_u128(row), purpose: &purpose };
        let sealed = key.seal(&secret, &binding).unwrap();
        prop_assert_eq!(&**key.open(&sealed, &binding).unwrap(), &secret);
    }

    #[test]
    fn different_bindings_never_open_each_other(
        (first_table, first_purpose) in ("[ab]{0,3}", "[ab]{0,3}"),
        (second_table, second_purpose) in ("[ab]{0,3}", "[ab]{0,3}"),
    ) {
        let key = DataKey::generate().unwrap();
        let first = Binding { table: &first_table, purpose: &first_purpose, ..binding() };
        let second = Binding { table: &second_table, purpose: &second_purpose, ..binding() };
        let sealed = key.seal(b"secret", &first).unwrap();
        prop_assert_eq!(key.open(&sealed, &second).is_ok(), first == second);
    }

    #[test]
    fn arbitrary_bytes_never_open_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let key = DataKey::generate().unwrap();
        prop_assert!(key.open(&bytes, &binding()).is_err());
        let versioned = [&[1], &bytes[..]].concat();
        prop_assert!(key.open(&versioned, &binding()).is_err());
    }

    #[test]
    fn arbitrary_master_keys_never_panic_and_are_never_shown(text in any::<String>()) {
        if let Some(refused) = MasterKeys::parse(&text).err() {
            let shown = refused.to_string();
            prop_assert!(text.trim().len() < 16 || !shown.contains(text.trim()));
        }
    }
}
