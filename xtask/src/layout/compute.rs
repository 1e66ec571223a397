//! C's layout rules: every field at the next multiple of its alignment, every struct as aligned as
//! its most aligned field.

use super::{Basis, FieldLayout, Integer, Item, Layout, LayoutError, Problem, Symbols};
use crate::document::{
    ArchId, Count, Document, Field, Head, PerArch, ReleaseId, ReleaseRange, Shape, Struct, TypeRef,
};
use crate::yaml::Place;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

/// How many levels of structs and unions may lie inside one another. No header comes near; a limit
/// keeps everything that walks a layout within its stack.
pub const MAX_DEPTH: u32 = 64;

/// The largest object in bytes: what fits in memory of which half has 32-bit addresses. Twins of
/// every architecture are compiled on every host, so the limit is the same for all.
pub(super) const MAX_SIZE: u32 = u32::MAX >> 1;

type Answer = Result<Rc<Layout>, LayoutError>;

/// The layouts of a description, each computed when it is first asked for.
#[derive(Debug)]
pub struct Layouts<'d> {
    symbols: Symbols<'d>,
    known: RefCell<HashMap<(&'d str, ReleaseId, ArchId), Answer>>,
}

impl<'d> Layouts<'d> {
    /// Creates the layouts of `document`.
    #[must_use]
    pub fn new(document: &'d Document) -> Self {
        Self { symbols: Symbols::new(document), known: RefCell::default() }
    }

    /// Returns what the names of the description stand for.
    #[must_use]
    pub fn symbols(&self) -> &Symbols<'d> {
        &self.symbols
    }

    /// Returns the layout of a block or an argument there.
    ///
    /// # Errors
    /// If there is no such struct there, or it has no layout; the error says whose fault it is.
    /// Where nothing is, the error has the root of the manifest as its place.
    pub fn of(&self, name: &str, release: ReleaseId, arch: ArchId) -> Answer {
        if let Some(known) = self.known.borrow().get(&(name, release, arch)) {
            return known.clone();
        }
        match self.symbols.type_(name, release, arch) {
            Ok(Item::Struct(struct_)) => self.of_struct(struct_, release, arch),
            Ok(item) => {
                let problem =
                    Problem::NotAType { name: name.to_owned(), what: "no block or argument" };
                Err(LayoutError { place: item.head().place.clone(), problem })
            }
            Err(problem @ Problem::NotThere { .. }) => Err(LayoutError {
                place: self.symbols.types(name)[0].head().place.clone(),
                problem,
            }),
            Err(problem) => Err(LayoutError { place: Place::root("manifest"), problem }),
        }
    }

    /// Returns the releases of a struct in which its layout can differ from the one before: its
    /// first, and those in which anything that the layout is made of begins or has ended.
    #[must_use]
    pub fn changes(&self, struct_: &'d Struct) -> Vec<ReleaseId> {
        let within = struct_.head.availability.releases;
        let mut changes = BTreeSet::from([within.since]);
        let mut note = |head: &Head| {
            let ReleaseRange { since, until } = head.availability.releases;
            changes.extend([since, ReleaseId(until.0.saturating_add(1))]);
        };
        let mut counts = Vec::new();
        let mut types = vec![struct_.head.name.as_str()];
        let mut seen = HashSet::new();
        for _ in 0..=MAX_DEPTH {
            let level = std::mem::take(&mut types);
            let level = level.into_iter().filter(|name| seen.insert(*name));
            for item in level.flat_map(|name| self.symbols.types(name)) {
                note(item.head());
                let mut fields: Vec<&Field> = Vec::new();
                match item {
                    Item::Alias(alias) => {
                        types.extend(alias.is.values().filter_map(named));
                        counts.extend(&alias.count);
                    }
                    Item::Struct(inner) => fields.extend(&inner.fields),
                    Item::Enumeration(_) | Item::Word(_) | Item::Encoding(_) => {}
                }
                while let Some(field) = fields.pop() {
                    note(&field.head);
                    types.extend(field.type_().and_then(named));
                    counts.extend(&field.count);
                    fields.extend(field.members());
                }
            }
        }
        if !types.is_empty() {
            // It goes deeper than a layout may.
            return (within.since.0..=within.until.0).map(ReleaseId).collect();
        }
        for count in counts.into_iter().flat_map(PerArch::values) {
            if let Count::Constant(name) = count {
                self.symbols.constants(name).iter().for_each(|constant| note(&constant.head));
            }
        }
        changes.into_iter().filter(|release| within.contains(*release)).collect()
    }

    fn of_struct(&self, struct_: &'d Struct, release: ReleaseId, arch: ArchId) -> Answer {
        Walk { layouts: self, release, arch }.run(struct_)
    }
}

/// One walk through the structs that a struct holds, inner ones first. It keeps its own stack: a
/// chain of structs may be long.
struct Walk<'w, 'd> {
    layouts: &'w Layouts<'d>,
    release: ReleaseId,
    arch: ArchId,
}

/// A struct on the way, and those of its inner structs that are still to be laid out.
struct Level<'d> {
    struct_: &'d Struct,
    inner: Vec<(&'d Struct, &'d Field)>,
}

impl<'d> Walk<'_, 'd> {
    fn run(&self, outermost: &'d Struct) -> Answer {
        if let Some(known) = self.known(outermost) {
            return known;
        }
        let mut depth_of = HashMap::from([(outermost.head.name.as_str(), 0)]);
        let mut path = vec![self.level(outermost)];
        while let Some(level) = path.last_mut() {
            let struct_ = level.struct_;
            let Some((inner, field)) = level.inner.pop() else {
                self.learn(struct_, self.lay_out(struct_));
                depth_of.remove(struct_.head.name.as_str());
                path.pop();
                continue;
            };
            if let Some(&start) = depth_of.get(inner.head.name.as_str()) {
                let mut names: Vec<&str> =
                    path[start..].iter().map(|level| level.struct_.head.name.as_str()).collect();
                names.push(&inner.head.name);
                let problem = Problem::circle(names.into_iter());
                self.learn(
                    struct_,
                    Err(LayoutError { place: field.head.place.key("type"), problem }),
                );
                depth_of.remove(struct_.head.name.as_str());
                path.pop();
            } else if self.known(inner).is_none() {
                depth_of.insert(&inner.head.name, path.len());
                path.push(self.level(inner));
            }
        }
        self.known(outermost).unwrap_or_else(|| self.lay_out(outermost))
    }

    fn known(&self, struct_: &'d Struct) -> Option<Answer> {
        self.layouts.known.borrow().get(&self.key(struct_)).cloned()
    }

    fn learn(&self, struct_: &'d Struct, answer: Answer) {
        self.layouts.known.borrow_mut().insert(self.key(struct_), answer);
    }

    fn key(&self, struct_: &'d Struct) -> (&'d str, ReleaseId, ArchId) {
        (struct_.head.name.as_str(), self.release, self.arch)
    }

    fn level(&self, struct_: &'d Struct) -> Level<'d> {
        let mut inner = Vec::new();
        let mut shapes: Vec<&'d Field> = struct_.fields.iter().rev().collect();
        while let Some(field) = shapes.pop() {
            match &field.shape {
                _ if !self.has(field) => {}
                Shape::Type(TypeRef::Named(name)) => {
                    if let Ok(Item::Struct(struct_)) =
                        self.layouts.symbols.type_(name, self.release, self.arch)
                    {
                        inner.push((struct_, field));
                    }
                }
                Shape::Type(_) => {}
                Shape::Union { members, .. } | Shape::Struct(members) => {
                    shapes.extend(members.iter().rev());
                }
            }
        }
        inner.reverse();
        Level { struct_, inner }
    }

    fn has(&self, field: &Field) -> bool {
        field.head.availability.contains(self.release, self.arch)
    }

    fn lay_out(&self, struct_: &'d Struct) -> Answer {
        self.sequence(&struct_.fields, 1, true)
    }

    /// Members one after the other. `level` counts the unions and inner structs around them.
    fn sequence(&self, fields: &'d [Field], level: u32, flexible: bool) -> Answer {
        let mut layout = Layout { align: 1, depth: 1, ..Layout::default() };
        let last = fields.iter().rposition(|field| self.has(field));
        let mut end = 0_u32;
        for (index, field) in fields.iter().enumerate().filter(|(_, field)| self.has(field)) {
            let mut placed = self.field(index, field, level, flexible && Some(index) == last)?;
            let too_large = || blame(field.head.place.clone(), Problem::TooLarge);
            placed.offset = rounded(end, placed.align).ok_or_else(too_large)?;
            end = placed.offset.checked_add(placed.size).ok_or_else(too_large)?;
            layout.size = rounded(end, layout.align.max(placed.align)).ok_or_else(too_large)?;
            include(&mut layout, placed);
        }
        self.bounded(layout, fields)
    }

    /// Members in the same place.
    fn union(&self, members: &'d [Field], level: u32) -> Answer {
        let mut layout = Layout { align: 1, depth: 1, ..Layout::default() };
        let mut end = 0_u32;
        for (index, member) in members.iter().enumerate().filter(|(_, member)| self.has(member)) {
            let placed = self.field(index, member, level, false)?;
            end = end.max(placed.size);
            let too_large = || blame(member.head.place.clone(), Problem::TooLarge);
            layout.size = rounded(end, layout.align.max(placed.align)).ok_or_else(too_large)?;
            include(&mut layout, placed);
        }
        self.bounded(layout, members)
    }

    fn bounded(&self, layout: Layout, fields: &[Field]) -> Answer {
        if layout.depth <= MAX_DEPTH {
            return Ok(Rc::new(layout));
        }
        let deepest = layout
            .fields
            .iter()
            .max_by_key(|field| field.inner.as_ref().map_or(0, |inner| inner.depth));
        let place = deepest.map_or_else(
            || Place::root("manifest"),
            |field| fields[field.index].head.place.clone(),
        );
        Err(blame(place, Problem::TooDeep))
    }

    /// Returns a field at offset 0.
    fn field(
        &self,
        index: usize,
        field: &'d Field,
        level: u32,
        flexible: bool,
    ) -> Result<FieldLayout, LayoutError> {
        let element = self.element(field, level)?;
        let count = match &field.count {
            None => None,
            Some(count) => {
                let place = self.place_of(field, "count", count);
                let number = count.get(self.arch).ok_or(Problem::NoValue);
                let number = number
                    .and_then(|count| self.layouts.symbols.count(count, self.release, self.arch));
                match number.map_err(|problem| blame(place.clone(), problem))? {
                    Some(number) => {
                        Some(u32::try_from(number).map_err(|_| blame(place, Problem::TooLarge))?)
                    }
                    None if flexible => Some(0),
                    None => return Err(blame(place, Problem::Flexible)),
                }
            }
        };
        let size = element.size.checked_mul(count.unwrap_or(1)).filter(|size| *size <= MAX_SIZE);
        let size = size.ok_or_else(|| blame(field.head.place.key("count"), Problem::TooLarge))?;
        Ok(FieldLayout {
            index,
            offset: 0,
            size,
            align: element.align,
            element_size: element.size,
            count,
            inner: element.inner,
        })
    }

    fn element(&self, field: &'d Field, level: u32) -> Result<Element, LayoutError> {
        let inner = match &field.shape {
            _ if level > MAX_DEPTH => {
                return Err(blame(field.head.place.clone(), Problem::TooDeep));
            }
            Shape::Type(type_) => return self.typed(field, type_),
            Shape::Union { members, .. } => self.union(members, level + 1)?,
            Shape::Struct(members) => self.sequence(members, level + 1, false)?,
        };
        Ok(Element { size: inner.size, align: inner.align, inner: Some(inner) })
    }

    fn typed(&self, field: &'d Field, type_: &'d TypeRef) -> Result<Element, LayoutError> {
        let place = || field.head.place.key("type");
        let meaning = self
            .layouts
            .symbols
            .meaning(type_, self.release, self.arch)
            .map_err(|problem| blame(place(), problem))?;
        let arch = self.layouts.symbols.manifest().arch(self.arch);
        let one = match meaning.basis {
            Basis::Integer(primitive) => Element::from(Integer::of(primitive, arch)),
            Basis::Enumeration(item) => Element::from(Integer::of(item.is, arch)),
            Basis::Word(item) => Element::from(Integer::of(item.is, arch)),
            Basis::Handle(_) => Element::from(Integer::handle(arch)),
            Basis::Struct(struct_) => {
                let inner = self
                    .known(struct_)
                    .unwrap_or_else(|| Err(blame(place(), Problem::Recursive(Vec::new()))))?;
                if ends_flexible(struct_, &inner, self.arch) {
                    return Err(blame(place(), Problem::Flexible));
                }
                Element { size: inner.size, align: inner.align, inner: Some(inner) }
            }
        };
        let count = u32::try_from(meaning.count.unwrap_or(1)).ok();
        let size = count
            .and_then(|count| one.size.checked_mul(count))
            .ok_or_else(|| blame(place(), Problem::TooLarge))?;
        Ok(Element { size, ..one })
    }

    fn place_of<T>(&self, field: &Field, key: &str, value: &PerArch<T>) -> Place {
        let place = field.head.place.key(key);
        match value {
            PerArch::Each(values) if values.contains_key(&self.arch) => {
                place.key(&self.layouts.symbols.manifest().arch(self.arch).name)
            }
            _ => place,
        }
    }
}

fn named(type_: &TypeRef) -> Option<&str> {
    match type_ {
        TypeRef::Named(name) => Some(name),
        TypeRef::Primitive(_) | TypeRef::Handle(_) => None,
    }
}

/// Returns the next multiple of an alignment, if an object can be that large.
fn rounded(end: u32, align: u32) -> Option<u32> {
    end.checked_next_multiple_of(align).filter(|end| *end <= MAX_SIZE)
}

struct Element {
    size: u32,
    align: u32,
    inner: Option<Rc<Layout>>,
}

impl From<Integer> for Element {
    fn from(integer: Integer) -> Self {
        Self { size: integer.size, align: integer.align, inner: None }
    }
}

fn include(layout: &mut Layout, field: FieldLayout) {
    layout.align = layout.align.max(field.align);
    layout.depth = layout.depth.max(field.inner.as_ref().map_or(0, |inner| inner.depth) + 1);
    layout.fields.push(field);
}

/// Returns whether the last field of a struct is an array without a length.
fn ends_flexible(struct_: &Struct, layout: &Layout, arch: ArchId) -> bool {
    let last = layout.fields.last().map(|field| &struct_.fields[field.index]);
    last.and_then(|field| field.count.as_ref()).and_then(|count| count.get(arch))
        == Some(&Count::Flexible)
}

fn blame(place: Place, problem: Problem) -> LayoutError {
    LayoutError { place, problem }
}
