//! The form of the description's language: mappings, their keys, and what their values must be. The
//! keys that all items share are here; [`language`](super::language) has the others.

/// A mapping whose keys have fixed names.
#[derive(Debug)]
pub struct Mapping {
    /// Its name, which is unique.
    pub name: &'static str,
    /// Its name with an article.
    pub what: &'static str,
    /// The keys that all items share.
    pub head: Head,
    /// The other keys.
    pub keys: &'static [Key],
    /// Keys of which exactly one must be there.
    pub one_of: &'static [&'static str],
}

/// Which keys of all items a mapping has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// None: it is no item.
    Absent,
    /// All but `name`, which is the mapping's key in the section.
    Keyed,
    /// All.
    Named,
    /// All; `doc` may be missing, because some of these items need none.
    Silent,
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What it means, in Markdown.
    pub doc: &'static str,
}

/// What a value must be.
#[derive(Debug)]
pub enum Kind {
    /// A text that is not empty.
    Text,
    /// Printable ASCII without `"` and `\`.
    Ascii,
    /// The name of a type.
    Type,
    /// A whole number.
    Integer,
    /// A whole number from 0 to 2^64 - 1.
    Unsigned,
    /// A number of elements, the name of a constant, or `flexible`.
    Count,
    /// `true` or `false`.
    Boolean,
    /// A release in quotes.
    Release,
    /// A bit or a range of bits.
    Bits,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// One of some numbers.
    Numbers(&'static [u32]),
    /// One value, or a mapping from architectures to values.
    PerArch(&'static Self),
    /// A list.
    List(&'static Self),
    /// A mapping from names to values.
    Map(&'static Self),
    /// A mapping with fixed keys.
    Item(&'static Mapping),
}

impl Mapping {
    /// Returns every key: `name` first, then the mapping's own, then those of all items.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + Clone {
        let (name, doc, rest): (&[Key], &[Key], &[Key]) = match self.head {
            Head::Absent => (&[], &[], &[]),
            Head::Keyed => (&[], &DOC, &ITEM),
            Head::Named => (&NAME, &DOC, &ITEM),
            Head::Silent => (&NAME, &OPTIONAL_DOC, &ITEM),
        };
        name.iter().chain(doc).chain(self.keys).chain(rest)
    }
}

pub(super) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: true, doc }
}

pub(super) const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: false, doc }
}

pub(super) const fn mapping(
    name: &'static str,
    what: &'static str,
    head: Head,
    keys: &'static [Key],
) -> Mapping {
    Mapping { name, what, head, keys, one_of: &[] }
}

/// A list of texts.
pub(super) const TEXTS: Kind = Kind::List(&Kind::Text);
const SINCE: &str = "The first release whose headers have it. All releases of the manifest without \
                     it. An inner item exists at most where its outer item does.";

static NAME: [Key; 1] = [required(
    "name",
    Kind::Text,
    "C's spelling without the prefix; the generator changes it to Rust's case. A keyword of Rust \
     is an error: choose another name, such as `type_`, and set `c`.",
)];
static DOC: [Key; 1] = [required(
    "doc",
    Kind::Text,
    "What it is, in our own words. A text that only restates the name is an error.",
)];
static OPTIONAL_DOC: [Key; 1] = [optional(
    "doc",
    Kind::Text,
    "What it is, in our own words. Only a reserved field can be without it.",
)];

/// The keys of every item, besides `name` and `doc`.
static ITEM: [Key; 9] = [
    optional(
        "header",
        Kind::Text,
        "The upstream header, if it is not that of the file. `cargo xtask verify` looks for the C \
         name there in the newest release that has it.",
    ),
    optional("since", Kind::Release, SINCE),
    optional("until", Kind::Release, "The last release whose headers have it."),
    optional(
        "honoured_since",
        Kind::Release,
        "The first release whose hypervisor supports it, if it differs from `since`. It must not \
         be later than `until`.",
    ),
    optional(
        "honoured_arch",
        TEXTS,
        "The architectures whose hypervisor supports it, if they are only some of those whose \
         headers have it.",
    ),
    optional("arch", TEXTS, "The architectures that have it; all without it."),
    optional(
        "c",
        Kind::Text,
        "The name in C, if it is not `prefix` + `name` (or the name alone). For a field of blocks \
         that are members of one C union, the path (`full_page.frame`). An enumeration, a word or \
         an encoding has one only if `c` gives it. `none` if the headers have no name; then \
         nothing is compared, and the item is counted.",
    ),
    optional(
        "named_since",
        Kind::Release,
        "The first release whose headers have the C name, if the thing itself is older.",
    ),
    optional(
        "superseded_by",
        Kind::Text,
        "The replacement; the Rust item is deprecated. The replacement exists on the item's \
         architectures and is not dropped earlier, and no item replaces itself.",
    ),
];
