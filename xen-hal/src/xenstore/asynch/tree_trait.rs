//! The operations on the tree as futures.

use core::fmt;
use core::str::FromStr;

use xen_pac::xenstore::XsdSockmsgType;

use crate::xenstore::StoreError;
use crate::xenstore::tree::{
    self, AsPath, NUMBER_MAX, Names, Parts, Permission, Permissions, payload,
};

/// Reads and writes the tree, as [`Tree`](crate::xenstore::Tree) does, with methods that wait as
/// futures. Implemented by [`AsyncStore`](super::AsyncStore) and by its
/// [`AsyncTransaction`](super::AsyncTransaction).
#[allow(async_fn_in_trait, reason = "the tasks of one executor need not be `Send`")]
pub trait AsyncTree {
    /// Sends a request, waits for its answer, and copies the answer into `buffer`. The parts of
    /// `payload` are sent as one. All other methods call this one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] with the server's error; [`StoreError::TooLong`],
    /// [`StoreError::Malformed`], [`StoreError::Broken`], [`StoreError::Xen`].
    async fn request<'b>(
        &self,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], StoreError>;

    /// Reads a node's value.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request); `ENOENT` if the node does not exist.
    async fn read<'b>(
        &self,
        path: impl AsPath,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], StoreError> {
        let payload = payload(path.as_path(), b"")?;
        Ok(self.request(XsdSockmsgType::READ, &payload, buffer).await?)
    }

    /// Reads a node's value as text.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); [`StoreError::Malformed`] if the value is not UTF-8.
    async fn read_str<'b>(
        &self,
        path: impl AsPath,
        buffer: &'b mut [u8],
    ) -> Result<&'b str, StoreError> {
        tree::text(self.read(path, buffer).await?)
    }

    /// Reads a node's value with `FromStr`, for example as a number.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); [`StoreError::Malformed`] if the value does not parse.
    async fn read_number<N: FromStr>(&self, path: impl AsPath) -> Result<N, StoreError> {
        tree::number(self.read(path, &mut [0; NUMBER_MAX]).await)
    }

    /// Returns whether a node exists and can be read.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request), except `ENOENT`.
    async fn exists(&self, path: impl AsPath) -> Result<bool, StoreError> {
        tree::existence(path.as_path(), self.read(path, &mut []).await)
    }

    /// Sets a node's value. Creates the node, and those above it, if they do not exist.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request); `EACCES` if the domain may not write there.
    async fn write(&self, path: impl AsPath, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        let payload = payload(path.as_path(), value.as_ref())?;
        self.request(XsdSockmsgType::WRITE, &payload, &mut [0; 4]).await.map(drop)
    }

    /// Sets a node's value with `Display`, for example to a number. The text has at most 40 bytes.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); [`StoreError::TooLong`] for a longer text.
    async fn write_number(
        &self,
        path: impl AsPath,
        number: impl fmt::Display,
    ) -> Result<(), StoreError> {
        let text = tree::number_text(number)?;
        self.write(path, text.bytes()).await
    }

    /// Creates a node with an empty value, and those above it. Does nothing if the node exists.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    async fn mkdir(&self, path: impl AsPath) -> Result<(), StoreError> {
        let payload = payload(path.as_path(), b"")?;
        self.request(XsdSockmsgType::MKDIR, &payload, &mut [0; 4]).await.map(drop)
    }

    /// Removes a node and everything below it. The node need not exist, but its parent must.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); `ENOENT` if the parent does not exist.
    async fn rm(&self, path: impl AsPath) -> Result<(), StoreError> {
        let payload = payload(path.as_path(), b"")?;
        self.request(XsdSockmsgType::RM, &payload, &mut [0; 4]).await.map(drop)
    }

    /// Lists the names of a node's children. A list that is too long for one message is read in
    /// parts, which needs 32 spare bytes in the buffer.
    ///
    /// # Errors
    ///
    /// As for [`Tree::directory`](crate::xenstore::Tree::directory).
    async fn directory<'b>(
        &self,
        path: impl AsPath,
        buffer: &'b mut [u8],
    ) -> Result<Names<'b>, StoreError> {
        let path = path.as_path();
        let whole = payload(path, b"")?;
        let answer = self.request(XsdSockmsgType::DIRECTORY, &whole, buffer).await;
        let mut length = tree::whole_list(answer.map(|list| list.len()))?;
        let mut parts = Parts::new();
        // The attempts and the buffer's length bound this loop.
        while length.is_none() {
            let offset = parts.offset()?;
            let rest = parts.rest(buffer);
            let payload = payload(path, offset.bytes())?;
            let part = self.request(XsdSockmsgType::DIRECTORY_PART, &payload, rest).await;
            length = parts.take(part)?;
        }
        Ok(Names(buffer.get(..length.unwrap_or_default()).unwrap_or_default()))
    }

    /// Reads the permissions of a node. The first entry holds the owner, and the access of domains
    /// without an entry.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    async fn permissions<'b>(
        &self,
        path: impl AsPath,
        buffer: &'b mut [u8],
    ) -> Result<Permissions<'b>, StoreError> {
        let payload = payload(path.as_path(), b"")?;
        let list = self.request(XsdSockmsgType::GET_PERMS, &payload, buffer).await?;
        Ok(Permissions(Names(list)))
    }

    /// Sets the permissions of a node: up to [`PERMISSIONS_MAX`](crate::xenstore::PERMISSIONS_MAX)
    /// entries, first the owner's. Only privileged domains may change the owner.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); [`StoreError::TooLong`] for more entries.
    async fn set_permissions(
        &self,
        path: impl AsPath,
        permissions: &[Permission],
    ) -> Result<(), StoreError> {
        let list = tree::permissions_text(permissions)?;
        let payload = payload(path.as_path(), list.bytes())?;
        self.request(XsdSockmsgType::SET_PERMS, &payload, &mut [0; 4]).await.map(drop)
    }
}
