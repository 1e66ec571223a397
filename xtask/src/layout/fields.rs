//! The answer: where the fields of a struct or a union lie.

use std::rc::Rc;

/// The layout of a struct or a union in one release on one architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Its size in bytes, padding at the end included.
    pub size: u32,
    /// Its alignment in bytes.
    pub align: u32,
    /// The fields that exist there, in order.
    pub fields: Vec<FieldLayout>,
    /// Through how many levels of inner structs and unions it goes; 1 if there is none.
    pub depth: u32,
}

/// The layout of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLayout {
    /// Its index among the described fields (or members) of what holds it.
    pub index: usize,
    /// Its offset in bytes from the start of what holds it.
    pub offset: u32,
    /// Its size in bytes, all elements of an array together; 0 for a flexible one.
    pub size: u32,
    /// Its alignment in bytes.
    pub align: u32,
    /// The size in bytes of one element; the same as `size` if it is no array.
    pub element_size: u32,
    /// How many elements the field's own `count` gives it; `None` if it is no array. A flexible
    /// array has `Some(0)`.
    pub count: Option<u32>,
    /// The layout of an element that is a block, an argument, a union or an inner struct.
    pub inner: Option<Rc<Layout>>,
}

impl FieldLayout {
    /// The offset after its last byte.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.offset + self.size
    }
}

impl Layout {
    /// The layout of the field at `index` of the description, if it exists there.
    #[must_use]
    pub fn field(&self, index: usize) -> Option<&FieldLayout> {
        self.fields
            .binary_search_by_key(&index, |field| field.index)
            .ok()
            .map(|at| &self.fields[at])
    }

    /// The bytes that belong to no field, as offsets and sizes, in order.
    #[must_use]
    pub fn padding(&self) -> Vec<(u32, u32)> {
        let mut gaps = Vec::new();
        let mut covered = 0;
        for field in &self.fields {
            if field.offset > covered {
                gaps.push((covered, field.offset - covered));
            }
            covered = covered.max(field.end());
        }
        if self.size > covered {
            gaps.push((covered, self.size - covered));
        }
        gaps
    }
}
