//! Reads and writes the tree of nodes.

use core::fmt;
use core::str::{self, FromStr};

use xen_pac::base::Domid;
use xen_pac::xenstore::{XENSTORE_PAYLOAD_MAX, XsdSockmsgType};

use super::StoreError;
use crate::hypercall::Errno;

/// The maximum number of attempts to read a long list of children that changes meanwhile.
const DIRECTORY_ATTEMPTS: u32 = 8;

/// The longest number that is read or written as text: `u128::MAX` has 39 digits.
pub(super) const NUMBER_MAX: usize = 40;

/// The maximum number of entries of [`Tree::set_permissions`].
pub const PERMISSIONS_MAX: usize = 32;

/// The length of a permission as text: a letter, five digits and a zero byte.
const PERMISSION_TEXT: usize = 7;

/// The path of a node: absolute, or relative to the domain's own directory
/// (`/local/domain/<number>`). A pair of texts is also accepted as a path: a directory and a name
/// below it.
///
/// ```
/// use xen_hal::xenstore::AsPath;
///
/// let device = "device/vbd/51712";
/// assert_eq!((device, "state").as_path().to_string(), "device/vbd/51712/state");
/// assert_eq!("name".as_path().to_string(), "name");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'p> {
    /// The directory; empty if `name` is the whole path.
    pub directory: &'p str,
    /// The name, or a path below the directory.
    pub name: &'p str,
}

/// A value that names a node: a path as text, a directory and a name below it, or a [`Path`].
pub trait AsPath: Copy {
    /// Returns the path.
    fn as_path(&self) -> Path<'_>;
}

impl AsPath for &str {
    fn as_path(&self) -> Path<'_> {
        Path { directory: "", name: self }
    }
}

impl AsPath for (&str, &str) {
    fn as_path(&self) -> Path<'_> {
        Path { directory: self.0, name: self.1 }
    }
}

impl AsPath for Path<'_> {
    fn as_path(&self) -> Path<'_> {
        *self
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [directory, slash, name] = self.parts();
        write!(f, "{directory}{slash}{name}")
    }
}

impl<'p> Path<'p> {
    fn parts(self) -> [&'p str; 3] {
        let slash = if self.directory.is_empty() || self.directory == "/" { "" } else { "/" };
        [self.directory, slash, self.name]
    }

    /// Returns the parts of the path in a request. The caller adds the final zero byte.
    pub(super) fn checked(self) -> Result<[&'p [u8]; 3], StoreError> {
        let parts = self.parts();
        let bad = self.name.is_empty() || parts.iter().any(|part| part.contains('\0'));
        if bad { Err(StoreError::InvalidPath) } else { Ok(parts.map(str::as_bytes)) }
    }
}

/// The path of a node, stored in the value itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodePath {
    bytes: [u8; Self::MAX],
    length: usize,
}

impl NodePath {
    /// The maximum length of a path. Those of devices have about 40 bytes.
    pub const MAX: usize = 128;

    /// Stores a path.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidPath`]; [`StoreError::TooLong`] with the length of a path that has more
    /// than [`MAX`](Self::MAX) bytes.
    pub fn new(path: impl AsPath) -> Result<Self, StoreError> {
        let parts = path.as_path().checked()?;
        let mut stored = Self { bytes: [0; Self::MAX], length: 0 };
        let whole = parts.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        for part in parts {
            let end = stored.length + part.len();
            let place = stored.bytes.get_mut(stored.length..end);
            place.ok_or(StoreError::TooLong(whole))?.copy_from_slice(part);
            stored.length = end;
        }
        Ok(stored)
    }

    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // It was created from text.
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Debug for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Returns the payload of a request for a node.
pub(super) fn payload<'p>(path: Path<'p>, value: &'p [u8]) -> Result<[&'p [u8]; 5], StoreError> {
    let [directory, slash, name] = path.checked()?;
    Ok([directory, slash, name, b"\0", value])
}

/// Parses the answer to the read of a number.
pub(super) fn number<N: FromStr>(answer: Result<&[u8], StoreError>) -> Result<N, StoreError> {
    match answer {
        Ok(value) => text(value)?.parse().map_err(|_| StoreError::Malformed),
        Err(StoreError::TooLong(_)) => Err(StoreError::Malformed),
        Err(error) => Err(error),
    }
}

pub(super) fn text(value: &[u8]) -> Result<&str, StoreError> {
    str::from_utf8(value).map_err(|_| StoreError::Malformed)
}

/// Returns whether a node exists, from the answer to its read into an empty buffer.
pub(super) fn existence(
    path: Path<'_>,
    answer: Result<&[u8], StoreError>,
) -> Result<bool, StoreError> {
    // The request for a longer path is not sent.
    let request = path.parts().iter().map(|part| part.len()).fold(1, usize::saturating_add);
    match answer {
        Ok(_) => Ok(true),
        Err(StoreError::TooLong(_)) if request <= XENSTORE_PAYLOAD_MAX as usize => Ok(true),
        Err(StoreError::Refused(Errno::ENOENT)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Parses the answer to the start of a transaction.
pub(super) fn transaction(answer: &[u8]) -> Result<u32, StoreError> {
    let number = text(without_end(answer))?.parse().ok();
    number.filter(|number| *number != 0).ok_or(StoreError::Malformed)
}

/// Formats a domain's number as a request's payload.
pub(super) fn domain_text(domain: Domid) -> Result<Text<8>, StoreError> {
    let mut text = Text::new();
    text.push(format_args!("{}\0", domain.0))?;
    Ok(text)
}

/// Parses the path of a domain.
pub(super) fn domain_path(answer: &[u8]) -> Result<&str, StoreError> {
    text(without_end(answer))
}

fn without_end(answer: &[u8]) -> &[u8] {
    answer.strip_suffix(b"\0").unwrap_or(answer)
}

/// Formats a number as a node's value.
pub(super) fn number_text(number: impl fmt::Display) -> Result<Text<NUMBER_MAX>, StoreError> {
    let mut text = Text::new();
    text.push(format_args!("{number}"))?;
    Ok(text)
}

/// Formats the permissions of a node as a request's value.
pub(super) fn permissions_text(
    permissions: &[Permission],
) -> Result<Text<{ PERMISSIONS_MAX * PERMISSION_TEXT }>, StoreError> {
    let mut list = Text::new();
    for permission in permissions {
        list.push(format_args!("{permission}\0"))?;
    }
    Ok(list)
}

/// Returns the length of a list of names, from the answer for the whole list; `None` if the list
/// must be read in parts.
pub(super) fn whole_list(answer: Result<usize, StoreError>) -> Result<Option<usize>, StoreError> {
    match answer {
        Ok(length) => Ok(Some(length)),
        Err(StoreError::Refused(Errno::E2BIG)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A list of names that is read in parts, because it is too long for one message.
pub(super) struct Parts {
    generation: Option<u64>,
    filled: usize,
    attempts: u32,
}

impl Parts {
    pub(super) const fn new() -> Self {
        Self { generation: None, filled: 0, attempts: 0 }
    }

    /// Returns the value of the request for the next part.
    pub(super) fn offset(&self) -> Result<Text<NUMBER_MAX>, StoreError> {
        let mut offset = number_text(self.filled)?;
        offset.push(format_args!("\0"))?;
        Ok(offset)
    }

    /// Returns the place for the next part.
    pub(super) fn rest<'b>(&self, buffer: &'b mut [u8]) -> &'b mut [u8] {
        buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// Takes the next part, which is in its place, and moves its names to the others. Returns the
    /// length of the list once it is whole. If the list has changed meanwhile, starts again.
    pub(super) fn take(
        &mut self,
        part: Result<&mut [u8], StoreError>,
    ) -> Result<Option<usize>, StoreError> {
        // A server that has no parts does not know the request.
        let part = part.map_err(|error| match error {
            StoreError::Refused(Errno::ENOSYS | Errno::EINVAL) => StoreError::Refused(Errno::E2BIG),
            error => error,
        })?;
        // The answer is the node's generation as text, a zero byte, and names. An empty name ends
        // the list.
        let end = part.iter().position(|byte| *byte == 0).ok_or(StoreError::Malformed)?;
        let generation: u64 = text(&part[..end])?.parse().map_err(|_| StoreError::Malformed)?;
        if self.generation.replace(generation).is_some_and(|before| before != generation) {
            if self.attempts == DIRECTORY_ATTEMPTS {
                return Err(StoreError::Conflict);
            }
            *self = Self { attempts: self.attempts + 1, ..Self::new() };
            return Ok(None);
        }
        let names = &part[end + 1..];
        let is_last = names.ends_with(b"\0\0") || names == b"\0";
        let count = names.len() - usize::from(is_last);
        part.copy_within(end + 1..end + 1 + count, 0);
        self.filled += count;
        match (is_last, count) {
            (true, _) => Ok(Some(self.filled)),
            (false, 0) => Err(StoreError::Malformed),
            (false, _) => Ok(None),
        }
    }
}

/// Reads and writes the tree. Implemented by [`Store`](super::Store) and by its
/// [`Transaction`](super::Transaction).
///
/// All answers are copied into the caller's buffers. 4096 bytes are always enough, except for
/// [`directory`](Self::directory), which can read a list in several parts.
pub trait Tree {
    /// Sends a request, waits for its answer, and copies the answer into `buffer`. The parts of
    /// `payload` are sent as one.
    ///
    /// All other methods call this one. The requests are the `XS_*` of
    /// `xen/include/public/io/xs_wire.h`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] with the server's error, and any other [`StoreError`] except
    /// `Conflict`.
    fn request<'b>(
        &mut self,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], StoreError>;

    /// Reads a node's value.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request); `ENOENT` if the node does not exist.
    fn read<'b>(
        &mut self,
        path: impl AsPath,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], StoreError> {
        let payload = payload(path.as_path(), b"")?;
        Ok(self.request(XsdSockmsgType::READ, &payload, buffer)?)
    }

    /// Reads a node's value as text.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); [`StoreError::Malformed`] if the value is not UTF-8.
    fn read_str<'b>(
        &mut self,
        path: impl AsPath,
        buffer: &'b mut [u8],
    ) -> Result<&'b str, StoreError> {
        text(self.read(path, buffer)?)
    }

    /// Reads a node's value with `FromStr`, for example as a number.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); [`StoreError::Malformed`] if the value does not parse.
    fn read_number<N: FromStr>(&mut self, path: impl AsPath) -> Result<N, StoreError> {
        number(self.read(path, &mut [0; NUMBER_MAX]))
    }

    /// Returns whether a node exists and can be read.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request), except `ENOENT`.
    fn exists(&mut self, path: impl AsPath) -> Result<bool, StoreError> {
        existence(path.as_path(), self.read(path, &mut []))
    }

    /// Sets a node's value. Creates the node, and those above it, if they do not exist.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request); `EACCES` if the domain may not write there.
    fn write(&mut self, path: impl AsPath, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        let payload = payload(path.as_path(), value.as_ref())?;
        self.request(XsdSockmsgType::WRITE, &payload, &mut [0; 4]).map(drop)
    }

    /// Sets a node's value with `Display`, for example to a number. The text has at most 40 bytes.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); [`StoreError::TooLong`] for a longer text.
    fn write_number(
        &mut self,
        path: impl AsPath,
        number: impl fmt::Display,
    ) -> Result<(), StoreError> {
        self.write(path, number_text(number)?.bytes())
    }

    /// Creates a node with an empty value, and those above it. Does nothing if the node exists.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn mkdir(&mut self, path: impl AsPath) -> Result<(), StoreError> {
        let payload = payload(path.as_path(), b"")?;
        self.request(XsdSockmsgType::MKDIR, &payload, &mut [0; 4]).map(drop)
    }

    /// Removes a node and everything below it. The node need not exist, but its parent must.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); `ENOENT` if the parent does not exist.
    fn rm(&mut self, path: impl AsPath) -> Result<(), StoreError> {
        let payload = payload(path.as_path(), b"")?;
        self.request(XsdSockmsgType::RM, &payload, &mut [0; 4]).map(drop)
    }

    /// Lists the names of a node's children. A list that is too long for one message is read in
    /// parts, which needs 32 spare bytes in the buffer.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); [`StoreError::TooLong`] if the list is longer than the buffer;
    /// [`StoreError::Conflict`] if a long list changes at each attempt; `E2BIG` for a long list
    /// from a server before Xen 4.9, and from oxenstored.
    fn directory<'b>(
        &mut self,
        path: impl AsPath,
        buffer: &'b mut [u8],
    ) -> Result<Names<'b>, StoreError> {
        let path = path.as_path();
        let whole = payload(path, b"")?;
        let answer = self.request(XsdSockmsgType::DIRECTORY, &whole, buffer);
        let mut length = whole_list(answer.map(|list| list.len()))?;
        let mut parts = Parts::new();
        // The attempts and the buffer's length bound this loop.
        while length.is_none() {
            let offset = parts.offset()?;
            let rest = parts.rest(buffer);
            let payload = payload(path, offset.bytes())?;
            length = parts.take(self.request(XsdSockmsgType::DIRECTORY_PART, &payload, rest))?;
        }
        let length = length.unwrap_or_default();
        Ok(Names(buffer.get(..length).unwrap_or_default()))
    }

    /// Reads the permissions of a node. The first entry holds the owner, and the access of domains
    /// without an entry.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    fn permissions<'b>(
        &mut self,
        path: impl AsPath,
        buffer: &'b mut [u8],
    ) -> Result<Permissions<'b>, StoreError> {
        let payload = payload(path.as_path(), b"")?;
        let list = self.request(XsdSockmsgType::GET_PERMS, &payload, buffer)?;
        Ok(Permissions(Names(list)))
    }

    /// Sets the permissions of a node: up to [`PERMISSIONS_MAX`] entries, first the owner's. Only
    /// privileged domains may change the owner.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); [`StoreError::TooLong`] for more entries.
    fn set_permissions(
        &mut self,
        path: impl AsPath,
        permissions: &[Permission],
    ) -> Result<(), StoreError> {
        let list = permissions_text(permissions)?;
        let payload = payload(path.as_path(), list.bytes())?;
        self.request(XsdSockmsgType::SET_PERMS, &payload, &mut [0; 4]).map(drop)
    }
}

/// The names of a node's children.
#[derive(Clone, Copy)]
pub struct Names<'b>(pub(super) &'b [u8]);

impl<'b> Iterator for Names<'b> {
    type Item = &'b str;

    fn next(&mut self) -> Option<&'b str> {
        while !self.0.is_empty() {
            let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
            let (name, rest) = self.0.split_at(end);
            self.0 = rest.get(1..).unwrap_or_default();
            // Names in the protocol are UTF-8 and not empty. Skips others.
            if let Some(name) = str::from_utf8(name).ok().filter(|name| !name.is_empty()) {
                return Some(name);
            }
        }
        None
    }
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// The access of a domain to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeAccess {
    /// No access.
    None,
    /// The domain may read the node.
    Read,
    /// The domain may write the node, but not read it.
    Write,
    /// The domain may read and write the node.
    ReadWrite,
}

/// An entry of a node's permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// The domain's number. In the first entry, that of the owner.
    pub domain: Domid,
    /// The domain's access. In the first entry, the access of all domains that have no entry. The
    /// owner always has full access, so no entry states it.
    pub access: NodeAccess,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.access {
            NodeAccess::None => 'n',
            NodeAccess::Read => 'r',
            NodeAccess::Write => 'w',
            NodeAccess::ReadWrite => 'b',
        };
        write!(f, "{letter}{}", self.domain.0)
    }
}

impl FromStr for Permission {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let letter = text.chars().next();
        let access = match letter {
            Some('n') => NodeAccess::None,
            Some('r') => NodeAccess::Read,
            Some('w') => NodeAccess::Write,
            Some('b') => NodeAccess::ReadWrite,
            _ => return Err(StoreError::Malformed),
        };
        let domain = text[1..].parse().map_err(|_| StoreError::Malformed)?;
        Ok(Self { domain: Domid(domain), access })
    }
}

/// The permissions of a node.
#[derive(Clone, Copy, Debug)]
pub struct Permissions<'b>(pub(super) Names<'b>);

impl Iterator for Permissions<'_> {
    type Item = Result<Permission, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(str::parse)
    }
}

/// A short text on the stack.
pub(super) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    pub(super) fn push(&mut self, text: fmt::Arguments<'_>) -> Result<(), StoreError> {
        fmt::Write::write_fmt(self, text).map_err(|_| StoreError::TooLong(N + 1))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    #[cfg(feature = "async")]
    pub(super) fn as_str(&self) -> &str {
        // Only text was pushed.
        str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = self.bytes.get_mut(self.length..).and_then(|rest| rest.get_mut(..text.len()));
        place.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}
