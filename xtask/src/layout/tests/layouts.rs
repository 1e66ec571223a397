//! Where fields lie.

use super::{NEW, OLD, X86, X86_64, alias, array, constant, document, field, named, of, struct_};
use crate::document::{ArchSet, Count, Primitive, ReleaseRange, Shape, Struct, TypeRef};
use crate::layout::{Layout, LayoutError, Layouts, MAX_DEPTH, Problem};
use std::rc::Rc;

fn offsets(layout: &Layout) -> Vec<u32> {
    layout.fields.iter().map(|field| field.offset).collect()
}

fn lay_out(structs: Vec<Struct>, name: &str) -> Result<Rc<Layout>, LayoutError> {
    Layouts::new(&document(Vec::new(), Vec::new(), structs)).of(name, NEW, X86_64)
}

#[test]
fn a_64_bit_integer_is_aligned_as_the_architecture_says() {
    // vcpu_runstate_info: 48 bytes on amd64, 44 on i386.
    let fields = vec![
        field("state", of(Primitive::U32)),
        field("state_entry_time", of(Primitive::U64)),
        array("time", of(Primitive::U64), Count::Number(4)),
    ];
    let document = document(Vec::new(), Vec::new(), vec![struct_("runstate", fields)]);
    let layouts = Layouts::new(&document);
    let wide = layouts.of("runstate", NEW, X86_64).expect("a layout");
    assert_eq!((wide.size, wide.align, offsets(&wide)), (48, 8, vec![0, 8, 16]));
    assert_eq!(wide.padding(), [(4, 4)]);
    let narrow = layouts.of("runstate", NEW, X86).expect("a layout");
    assert_eq!((narrow.size, narrow.align, offsets(&narrow)), (44, 4, vec![0, 4, 12]));
    assert_eq!(narrow.padding(), []);
    let time = wide.field(2).expect("the array");
    assert_eq!((time.size, time.element_size, time.count), (32, 8, Some(4)));
}

#[test]
fn pointers_and_unsigned_long_are_as_wide_as_the_architecture_says() {
    let handle = Shape::Type(TypeRef::Handle(Box::new(TypeRef::Named("s".to_owned()))));
    let fields = vec![
        field("b", of(Primitive::U8)),
        field("list", handle),
        field("nr", of(Primitive::Ulong)),
    ];
    let document = document(Vec::new(), Vec::new(), vec![struct_("s", fields)]);
    let layouts = Layouts::new(&document);
    assert_eq!(
        layouts.of("s", NEW, X86_64).map(|layout| (layout.size, offsets(&layout))),
        Ok((24, vec![0, 8, 16]))
    );
    assert_eq!(
        layouts.of("s", NEW, X86).map(|layout| (layout.size, offsets(&layout))),
        Ok((12, vec![0, 4, 8]))
    );
}

#[test]
fn fields_exist_where_their_availability_says() {
    let mut only_x86 = field("a", of(Primitive::U32));
    only_x86.head.availability.archs = ArchSet::from_iter([X86]);
    let mut only_new = field("b", of(Primitive::U16));
    only_new.head.availability.releases = ReleaseRange { since: NEW, until: NEW };
    let document = document(Vec::new(), Vec::new(), vec![struct_("s", vec![only_x86, only_new])]);
    let layouts = Layouts::new(&document);
    let shape = |release, arch| {
        layouts
            .of("s", release, arch)
            .map(|layout| (layout.size, layout.align, layout.fields.len()))
    };
    assert_eq!(shape(OLD, X86_64), Ok((0, 1, 0)), "a struct without fields is empty");
    assert_eq!(shape(NEW, X86_64), Ok((2, 2, 1)));
    assert_eq!(shape(OLD, X86), Ok((4, 4, 1)));
    assert_eq!(shape(NEW, X86), Ok((8, 4, 2)));
    assert!(
        layouts
            .of("s", NEW, X86)
            .is_ok_and(|layout| layout.field(1).is_some_and(|field| field.offset == 4))
    );
    assert!(
        layouts
            .of("s", NEW, X86_64)
            .is_ok_and(|layout| layout.field(0).is_none() && layout.field(1).is_some())
    );
}

#[test]
fn unions_inner_structs_and_blocks_lie_inside() {
    let inner =
        Shape::Struct(vec![field("dom", of(Primitive::U16)), field("port", of(Primitive::U32))]);
    let union = Shape::Union {
        members: vec![field("pair", inner), field("byte", of(Primitive::U8))],
        anonymous: false,
    };
    let holder = struct_(
        "holder",
        vec![
            field("x", of(Primitive::U8)),
            array("u", union, Count::Number(2)),
            field("tail", named("pod")),
        ],
    );
    let pod = struct_("pod", vec![array("b", of(Primitive::U8), Count::Number(3))]);
    let layout = lay_out(vec![holder, pod], "holder").expect("a layout");
    assert_eq!((layout.size, offsets(&layout), layout.depth), (24, vec![0, 4, 20], 3));
    assert_eq!(layout.padding(), [(1, 3), (23, 1)]);
    let union = layout.fields[1].inner.as_ref().expect("a union");
    assert_eq!((union.size, offsets(union), union.padding()), (8, vec![0, 0], vec![]));
    let pair = union.fields[0].inner.as_ref().expect("a struct");
    assert_eq!((offsets(pair), pair.padding()), (vec![0, 4], vec![(2, 2)]));
}

#[test]
fn arrays_may_be_counted_by_constants_and_aliases() {
    let types = vec![alias("handle_t", TypeRef::Primitive(Primitive::U8), Some(Count::Number(16)))];
    let fields = vec![
        array("all", named("handle_t"), Count::Constant("N".to_owned())),
        field("end", of(Primitive::U32)),
    ];
    let document = document(types, vec![constant("N", 3)], vec![struct_("s", fields)]);
    let layout = Layouts::new(&document).of("s", NEW, X86).expect("a layout");
    assert_eq!((layout.size, offsets(&layout)), (52, vec![0, 48]));
    assert_eq!((layout.fields[0].element_size, layout.fields[0].count), (16, Some(3)));
}

#[test]
fn a_flexible_tail_takes_no_room_and_comes_last() {
    let head = || field("len", of(Primitive::U32));
    let flexible = || array("buf", of(Primitive::U64), Count::Flexible);
    let layout = lay_out(vec![struct_("s", vec![head(), flexible()])], "s").expect("a layout");
    assert_eq!(
        (layout.size, layout.align, layout.fields[1].offset, layout.fields[1].size),
        (8, 8, 8, 0)
    );
    let error = lay_out(vec![struct_("s", vec![flexible(), head()])], "s").expect_err("not last");
    assert_eq!(
        (error.problem, error.place),
        (Problem::Flexible, flexible().head.place.key("count"))
    );
    let nested =
        vec![struct_("s", vec![field("inner", named("t"))]), struct_("t", vec![flexible()])];
    assert_eq!(
        lay_out(nested, "s").expect_err("its length is not known").problem,
        Problem::Flexible
    );
}

#[test]
fn no_count_overflows() {
    for count in [1 << 63, u64::MAX, 1 << 32, (1 << 32) - 1, 1 << 31, 1 << 28] {
        let long = array("long", of(Primitive::U64), Count::Number(count));
        let place = long.head.place.key("count");
        let error = lay_out(vec![struct_("s", vec![field("x", of(Primitive::U8)), long])], "s")
            .expect_err("too large");
        assert_eq!((error.problem, error.place), (Problem::TooLarge, place));
    }
    let most = array("most", of(Primitive::U8), Count::Number((1 << 31) - 2));
    assert!(lay_out(vec![struct_("s", vec![most.clone()])], "s").is_ok());
    let error = lay_out(vec![struct_("s", vec![most, field("one_more", of(Primitive::U32))])], "s")
        .expect_err("too large");
    assert_eq!(error.place, field("one_more", of(Primitive::U32)).head.place);
}

#[test]
fn a_type_that_holds_itself_is_found_from_wherever_one_starts() {
    let union = Shape::Union { members: vec![field("back", named("b"))], anonymous: true };
    let structs = vec![
        struct_("a", vec![field("to_b", named("b"))]),
        struct_("b", vec![field("to_c", named("c"))]),
        struct_("c", vec![field("u", union)]),
        struct_("self", vec![field("me", named("self"))]),
    ];
    let document = document(Vec::new(), Vec::new(), structs);
    let layouts = Layouts::new(&document);
    let circle =
        |names: &[&str]| Problem::Recursive(names.iter().map(|name| (*name).to_owned()).collect());
    let first = layouts.of("a", NEW, X86).expect_err("endless");
    assert_eq!(
        (&first.problem, first.place.steps.last()),
        (
            &circle(&["b", "c", "b"]),
            field("", of(Primitive::U8)).head.place.key("type").steps.last()
        )
    );
    for name in ["b", "c"] {
        assert_eq!(layouts.of(name, NEW, X86).expect_err("endless"), first);
    }
    assert_eq!(
        layouts.of("self", NEW, X86).expect_err("endless").problem,
        circle(&["self", "self"])
    );
}

fn chain(links: usize) -> Vec<Struct> {
    let link = |number: usize| {
        struct_(&format!("s{number}"), vec![field("next", named(&format!("s{}", number + 1)))])
    };
    (0..links)
        .map(link)
        .chain([struct_(&format!("s{links}"), vec![field("end", of(Primitive::U8))])])
        .collect()
}

#[test]
fn long_chains_end_in_an_error_and_not_in_a_stack_overflow() {
    let document = document(Vec::new(), Vec::new(), chain(100_000));
    let layouts = Layouts::new(&document);
    assert_eq!(layouts.of("s0", NEW, X86).expect_err("too deep").problem, Problem::TooDeep);
    assert!(
        layouts.of("s99990", NEW, X86).is_ok_and(|layout| layout.size == 1 && layout.depth == 11)
    );
}

#[test]
fn a_long_circle_is_a_circle() {
    let mut structs = chain(50_000);
    structs[50_000] = struct_("s50000", vec![field("back", named("s0"))]);
    let expected = ["s0", "s1", "s2", "s3", "...", "s49998", "s49999", "s50000", "s0"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(lay_out(structs, "s0").expect_err("endless").problem, Problem::Recursive(expected));
}

#[test]
fn nested_shapes_have_a_limit() {
    let nest = |depth| {
        (0..depth).fold(of(Primitive::U8), |inner, _| Shape::Struct(vec![field("inner", inner)]))
    };
    let depth = MAX_DEPTH as usize;
    assert!(
        lay_out(vec![struct_("s", vec![field("f", nest(depth - 1))])], "s")
            .is_ok_and(|layout| layout.depth == MAX_DEPTH)
    );
    assert_eq!(
        lay_out(vec![struct_("s", vec![field("f", nest(depth))])], "s")
            .expect_err("too deep")
            .problem,
        Problem::TooDeep
    );
}

#[test]
fn what_is_no_struct_has_no_layout() {
    let document = document(
        vec![alias("word", TypeRef::Primitive(Primitive::U32), None)],
        Vec::new(),
        Vec::new(),
    );
    let layouts = Layouts::new(&document);
    assert!(matches!(
        layouts.of("word", NEW, X86).expect_err("an alias").problem,
        Problem::NotAType { .. }
    ));
    assert_eq!(
        layouts.of("nothing", NEW, X86).expect_err("nothing").problem,
        Problem::UnknownType("nothing".to_owned())
    );
}

/// In every cell of the description, a layout is that of the last release before in which it can
/// have changed.
#[test]
fn layouts_change_only_where_something_in_them_begins_or_ends() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml");
    let (document, _) = crate::document::read(&crate::yaml::load(&folder).unwrap());
    let document = document.unwrap();
    let layouts = Layouts::new(&document);
    let (mut cells, mut computed) = (0, 0);
    for item in document.files.iter().flat_map(|file| &file.structs) {
        let changes = layouts.changes(item);
        for (release, arch) in layouts.symbols().cells(item.head.availability) {
            let last = *changes.iter().rfind(|change| **change <= release).unwrap();
            let of = |release| layouts.of(&item.head.name, release, arch).unwrap();
            assert_eq!(of(release), of(last), "{} in {release:?}", item.head.name);
            cells += 1;
            computed += usize::from(release == last);
        }
    }
    assert!(computed * 4 < cells, "{computed} of {cells}");
}
