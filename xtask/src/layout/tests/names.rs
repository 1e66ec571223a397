//! What names stand for.

use super::{NEW, OLD, X86, X86_64, alias, constant, document, everywhere};
use crate::document::{ArchSet, Count, PerArch, Primitive, ReleaseRange, TypeRef};
use crate::layout::{Basis, Problem, Symbols};

fn named(name: &str) -> TypeRef {
    TypeRef::Named(name.to_owned())
}

#[test]
fn aliases_are_followed_and_their_arrays_multiplied() {
    let row = alias("row", TypeRef::Primitive(Primitive::U16), Some(Count::Number(3)));
    let table = alias("table", named("row"), Some(Count::Constant("ROWS".to_owned())));
    let document = document(vec![row, table], vec![constant("ROWS", 4)], Vec::new());
    let names = Symbols::new(&document);
    let table = named("table");
    let meaning = names.meaning(&table, NEW, X86).expect("a table");
    assert!(matches!(meaning.basis, Basis::Integer(Primitive::U16)));
    assert_eq!(meaning.count, Some(12));
    assert_eq!(names.integer(&table, NEW, X86), Ok(None), "an array is no integer");
}

#[test]
fn unsigned_long_is_as_wide_as_a_pointer() {
    let document = document(Vec::new(), Vec::new(), Vec::new());
    let names = Symbols::new(&document);
    let ulong = TypeRef::Primitive(Primitive::Ulong);
    let bits = |arch| names.integer(&ulong, NEW, arch).expect("known").expect("an integer").bits();
    assert_eq!((bits(X86_64), bits(X86)), (64, 32));
}

#[test]
fn integers_hold_what_c_lets_them_hold() {
    let document = document(Vec::new(), Vec::new(), Vec::new());
    let names = Symbols::new(&document);
    let holds = |primitive, value| {
        let type_ = TypeRef::Primitive(primitive);
        names.integer(&type_, NEW, X86).expect("known").expect("an integer").holds(value)
    };
    assert!(
        holds(Primitive::I8, -128) && !holds(Primitive::I8, -129) && !holds(Primitive::I8, 128)
    );
    assert!(
        holds(Primitive::U64, i128::from(u64::MAX))
            && !holds(Primitive::U64, i128::from(u64::MAX) + 1)
    );
    assert!(holds(Primitive::I64, i128::from(i64::MIN)) && !holds(Primitive::U8, -1));
}

#[test]
fn the_same_name_may_mean_something_else_in_another_release_or_on_another_architecture() {
    let mut before = constant("LIMIT", 35);
    before.head.availability.releases = ReleaseRange { since: OLD, until: OLD };
    let mut after = constant("LIMIT", 36);
    after.head.availability.releases = ReleaseRange { since: NEW, until: NEW };
    after.value = PerArch::Each([(X86, 37)].into());
    let document = document(Vec::new(), vec![before, after], Vec::new());
    let names = Symbols::new(&document);
    assert_eq!(names.constant_value("LIMIT", OLD, X86), Ok(35));
    assert_eq!(names.constant_value("LIMIT", NEW, X86), Ok(37));
    assert_eq!(names.constant_value("LIMIT", NEW, X86_64), Err(Problem::NoValue));
    assert_eq!(
        names.constant_value("LIMITS", NEW, X86),
        Err(Problem::UnknownConstant("LIMITS".to_owned()))
    );
}

#[test]
fn what_exists_elsewhere_is_told_from_what_does_not_exist() {
    let mut here = alias("here", TypeRef::Primitive(Primitive::U8), None);
    here.head.availability.archs = ArchSet::from_iter([X86]);
    let place = here.head.place.clone();
    let document = document(vec![here], Vec::new(), Vec::new());
    let names = Symbols::new(&document);
    assert!(names.meaning(&named("here"), NEW, X86).is_ok());
    let elsewhere = Problem::NotThere { name: "here".to_owned(), defined: Box::new(place) };
    assert_eq!(names.type_("here", NEW, X86_64).err(), Some(elsewhere));
    assert_eq!(names.type_("her", NEW, X86).err(), Some(Problem::UnknownType("her".to_owned())));
}

#[test]
fn aliases_that_never_end_are_found() {
    let types = vec![
        alias("a", named("b"), None),
        alias("b", named("c"), None),
        alias("c", named("b"), None),
    ];
    let document = document(types, Vec::new(), Vec::new());
    let names = Symbols::new(&document);
    let circle = ["b", "c", "b"].map(str::to_owned).to_vec();
    assert_eq!(names.meaning(&named("a"), NEW, X86).err(), Some(Problem::Recursive(circle)));
}

#[test]
fn chains_of_aliases_have_a_limit() {
    let link =
        |number: usize| alias(&format!("a{number}"), named(&format!("a{}", number + 1)), None);
    let document = document((0..100_000).map(link).collect(), Vec::new(), Vec::new());
    let names = Symbols::new(&document);
    assert_eq!(names.meaning(&named("a0"), NEW, X86).err(), Some(Problem::TooDeep));
    assert_eq!(
        names.meaning(&named("a99999"), NEW, X86).err(),
        Some(Problem::UnknownType("a100000".to_owned()))
    );
}

#[test]
fn counts_are_positive_numbers() {
    let constants = vec![constant("NONE", 0), constant("DEBT", -1), constant("HUGE", 1 << 100)];
    let document = document(Vec::new(), constants, Vec::new());
    let names = Symbols::new(&document);
    let count = |name: &str| names.count(&Count::Constant(name.to_owned()), NEW, X86);
    assert_eq!(count("NONE"), Err(Problem::NoElements));
    assert_eq!(count("DEBT"), Err(Problem::Negative(-1)));
    assert_eq!(count("HUGE"), Err(Problem::TooLarge));
    assert_eq!(names.count(&Count::Number(1 << 63), NEW, X86), Ok(Some(1 << 63)));
    assert_eq!(
        names.cells(everywhere()).collect::<Vec<_>>(),
        [(OLD, X86_64), (OLD, X86), (NEW, X86_64), (NEW, X86)]
    );
}
