//! Simulates the xenstore server: the tree, its permissions, watches and transactions. It answers
//! as xenstored of Xen 4.17 and 4.20 does, with checks in the same order
//! (`tools/xenstore/xenstored_core.c`, `xenstored_watch.c`, `xenstored_transaction.c`; in
//! `tools/xenstored` since 4.18).

use std::collections::{BTreeMap, VecDeque};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use xen_pac::base::Domid;
use xen_pac::release::Release;
use xen_pac::xenstore::{
    XENSTORE_ABS_PATH_MAX, XENSTORE_PAYLOAD_MAX, XENSTORE_REL_PATH_MAX, XsdSockmsg, XsdSockmsgType,
};

use xen_hal::hypercall::Errno;
use xen_hal::xenstore::{NodeAccess, Permission};

/// The domain whose requests are always allowed.
const PRIVILEGED: Domid = Domid(0);

/// The quotas of an unprivileged domain: nodes, watches, transactions, and permissions of a node.
const NODES_MAX: usize = 1000;
const WATCHES_MAX: usize = 128;
const TRANSACTIONS_MAX: usize = 10;
const PERMISSIONS_MAX: usize = 5;

/// The size of a permission.
const NODE_PERMISSION: usize = 8;

/// Returns the quota of a node's size: its permissions, its value and the names of its children. In
/// the server, a node and its header of 24 bytes have less than 2048 bytes; since 4.18, the header
/// has 16, and 2048 are allowed.
fn node_max(release: Release) -> usize {
    if release < Release::new(4, 18) { 2047 - 24 } else { 2048 - 16 }
}

/// Returns the directory at which a domain's relative paths start.
pub(super) fn home(domain: Domid) -> String {
    format!("/local/domain/{}", domain.0)
}

/// A xenstore server, independent of the transport of its messages.
///
/// ```
/// use xen_hal::xenstore::{NodeAccess, Permission};
/// use xen_pac::base::Domid;
/// use xen_pac::xenstore::{XsdSockmsg, XsdSockmsgType};
/// use xen_sim::backend::StoreServer;
///
/// let mut server = StoreServer::new();
/// server.introduce(Domid(1));
/// server.set("/local/domain/1/name", "guest");
/// let owner = Permission { domain: Domid(1), access: NodeAccess::None };
/// server.set_permissions("/local/domain/1/name", &[owner]);
///
/// server.request(Domid(1), &XsdSockmsg::new(XsdSockmsgType::READ, 7, 0, 5), b"name\0");
/// let (header, payload) = server.next_message(Domid(1)).unwrap();
/// assert_eq!((header.kind, header.req_id), (XsdSockmsgType::READ, 7));
/// assert_eq!(payload, b"guest");
/// ```
#[derive(Clone, Debug)]
pub struct StoreServer {
    nodes: Nodes,
    clients: BTreeMap<u16, Client>,
    /// The most bytes of a node of an unprivileged domain.
    node_max: usize,
}

#[derive(Clone, Debug)]
struct Nodes {
    all: BTreeMap<String, Node>,
    /// The number of changes so far.
    generation: u64,
}

#[derive(Clone, Debug)]
struct Node {
    value: Vec<u8>,
    permissions: Vec<Permission>,
    generation: u64,
}

#[derive(Clone, Debug, Default)]
struct Client {
    watches: Vec<Watch>,
    transactions: BTreeMap<u32, Transaction>,
    last_transaction: u32,
    outbox: VecDeque<(XsdSockmsg, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Watch {
    path: String,
    token: String,
    relative: bool,
}

#[derive(Clone, Debug)]
struct Transaction {
    nodes: Nodes,
    /// The generation of each node at the time when the transaction read it.
    seen: BTreeMap<String, Option<u64>>,
    /// The changes: each has a path, and whether only watches of exactly this path fire.
    changed: Vec<(String, bool)>,
}

/// The result of a request: the payload of its answer, or an error.
type Answer = Result<Vec<u8>, Errno>;

impl Default for StoreServer {
    fn default() -> Self {
        Self::new()
    }
}

impl StoreServer {
    /// Creates a store with the root and `/local/domain`, as in Xen 4.17.
    #[must_use]
    pub fn new() -> Self {
        let nodes = Nodes { all: BTreeMap::new(), generation: 0 };
        let node_max = node_max(Release::new(4, 17));
        let mut server = Self { nodes, clients: BTreeMap::new(), node_max };
        server.clients.insert(PRIVILEGED.0, Client::default());
        let owner = Permission { domain: PRIVILEGED, access: NodeAccess::None };
        let root = Node { value: Vec::new(), permissions: [owner].into(), generation: 0 };
        server.nodes.all.insert("/".to_string(), root);
        server.set("/local/domain", "");
        server
    }

    /// Answers as the server of another release. The size that a node may have differs.
    pub fn set_release(&mut self, release: Release) {
        self.node_max = node_max(release);
    }

    /// Starts to serve a domain.
    pub fn introduce(&mut self, domain: Domid) {
        self.clients.insert(domain.0, Client::default());
        self.fire("@introduceDomain", true);
    }

    /// Drops the watches, transactions and messages of a domain, as for a new connection.
    pub fn reset(&mut self, domain: Domid) {
        if let Some(client) = self.clients.get_mut(&domain.0) {
            *client = Client::default();
        }
    }

    /// Returns the number of watches and of open transactions of a domain.
    #[must_use]
    pub fn open(&self, domain: Domid) -> (usize, usize) {
        let client = self.clients.get(&domain.0);
        client.map_or((0, 0), |client| (client.watches.len(), client.transactions.len()))
    }

    /// Stops serving a domain, and removes the nodes that it owns.
    pub fn release(&mut self, domain: Domid) {
        self.clients.remove(&domain.0);
        let owned: Vec<String> = self
            .nodes
            .all
            .iter()
            .filter(|(_, node)| node.permissions[0].domain == domain)
            .map(|(path, _)| path.clone())
            .collect();
        for path in owned {
            self.remove(&path);
        }
        self.fire("@releaseDomain", true);
    }

    /// Sets a node's value, as the control domain does.
    ///
    /// # Panics
    ///
    /// If the path is invalid.
    pub fn set(&mut self, path: &str, value: impl AsRef<[u8]>) {
        let written = self.write(PRIVILEGED, None, path, value.as_ref());
        assert_eq!(written, Ok(b"OK\0".to_vec()), "{path}");
    }

    /// Removes a node and all below it, as the control domain does.
    pub fn remove(&mut self, path: &str) {
        // A missing node needs no removal.
        let _ = self.rm(PRIVILEGED, None, path);
    }

    /// Sets the permissions of a node: first the owner's entry, then those of other domains. The
    /// node must exist.
    pub fn set_permissions(&mut self, path: &str, permissions: &[Permission]) {
        let Some(node) = self.nodes.all.get_mut(path) else { return };
        if !permissions.is_empty() {
            node.permissions = permissions.to_vec();
        }
        self.fire(path, false);
    }

    /// Returns a node's value.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.nodes.all.get(path).map(|node| node.value.as_slice())
    }

    /// Parses a node's value with `FromStr`, for example as a number.
    #[must_use]
    pub fn get_number<N: core::str::FromStr>(&self, path: &str) -> Option<N> {
        core::str::from_utf8(self.get(path)?).ok()?.parse().ok()
    }

    /// Returns the names of a node's children.
    #[must_use]
    pub fn children(&self, path: &str) -> Vec<String> {
        self.nodes.children(path).map(ToString::to_string).collect()
    }

    /// Returns the next message for a domain.
    pub fn next_message(&mut self, domain: Domid) -> Option<(XsdSockmsg, Vec<u8>)> {
        self.clients.get_mut(&domain.0)?.outbox.pop_front()
    }

    /// Carries out a request of a domain. Its answer and any events are
    /// [messages](Self::next_message).
    pub fn request(&mut self, from: Domid, header: &XsdSockmsg, payload: &[u8]) {
        let kind = header.kind;
        let ignores_transaction = [XsdSockmsgType::WATCH, XsdSockmsgType::UNWATCH].contains(&kind);
        let Some(client) = self.clients.get(&from.0) else { return };
        let transaction = Some(header.tx_id).filter(|id| *id != 0 && !ignores_transaction);
        let is_privileged = [
            XsdSockmsgType::CONTROL,
            XsdSockmsgType::INTRODUCE,
            XsdSockmsgType::RELEASE,
            XsdSockmsgType::IS_DOMAIN_INTRODUCED,
            XsdSockmsgType::RESUME,
            XsdSockmsgType::SET_TARGET,
        ];
        let answer = if is_privileged.contains(&kind) && from != PRIVILEGED {
            Err(Errno::EACCES)
        } else if transaction.is_some_and(|id| !client.transactions.contains_key(&id)) {
            Err(Errno::ENOENT)
        } else {
            self.carry_out(from, transaction, kind, payload)
        };
        let (kind, payload) = match answer {
            Ok(payload) => (kind, payload),
            Err(errno) => (XsdSockmsgType::ERROR, format!("{errno}\0").into_bytes()),
        };
        let length = payload.len() as u32;
        let answer = XsdSockmsg::new(kind, header.req_id, header.tx_id, length);
        let Some(client) = self.clients.get_mut(&from.0) else { return };
        client.outbox.push_back((answer, payload));
        if answer.kind == XsdSockmsgType::WATCH {
            // A new watch fires once, after the answer.
            if let Some(watch) = client.watches.last().cloned() {
                client.outbox.extend(watch.event(from, &watch.path));
            }
        }
    }

    fn carry_out(
        &mut self,
        from: Domid,
        transaction: Option<u32>,
        kind: XsdSockmsgType,
        payload: &[u8],
    ) -> Answer {
        let path = || one_text(payload).ok_or(Errno::EINVAL);
        match kind {
            XsdSockmsgType::READ => {
                let path = self.readable(from, transaction, &path()?)?;
                Ok(self.at(from, transaction).all[&path].value.clone())
            }
            XsdSockmsgType::DIRECTORY => {
                let path = self.readable(from, transaction, &path()?)?;
                let list = self.at(from, transaction).list(&path);
                let fits = list.len() <= XENSTORE_PAYLOAD_MAX as usize;
                if fits { Ok(list) } else { Err(Errno::E2BIG) }
            }
            XsdSockmsgType::DIRECTORY_PART => self.directory_part(from, transaction, payload),
            XsdSockmsgType::GET_PERMS => {
                let path = self.readable(from, transaction, &path()?)?;
                let node = &self.at(from, transaction).all[&path];
                let list = node.permissions.iter().map(|permission| format!("{permission}\0"));
                Ok(list.collect::<String>().into_bytes())
            }
            XsdSockmsgType::SET_PERMS => self.set_perms(from, transaction, payload),
            XsdSockmsgType::WRITE => {
                let (path, value) = first_text(payload).ok_or(Errno::EINVAL)?;
                self.write(from, transaction, &path, value)
            }
            XsdSockmsgType::MKDIR => {
                let (path, found) = self.look_up(from, transaction, &path()?, writes)?;
                if !found {
                    self.create(from, transaction, &path, &[])?;
                    self.changed(from, transaction, &path, false);
                }
                ok()
            }
            XsdSockmsgType::RM => self.rm(from, transaction, &path()?),
            XsdSockmsgType::WATCH => self.watch(from, payload),
            XsdSockmsgType::UNWATCH => self.unwatch(from, payload),
            XsdSockmsgType::RESET_WATCHES => {
                let client = self.client(from);
                client.watches.clear();
                client.transactions.clear();
                ok()
            }
            XsdSockmsgType::TRANSACTION_START => self.begin(from, transaction),
            XsdSockmsgType::TRANSACTION_END => self.end(from, transaction, payload),
            XsdSockmsgType::GET_DOMAIN_PATH => {
                let domain: u16 = path()?.parse().map_err(|_| Errno::EINVAL)?;
                Ok(format!("{}\0", home(Domid(domain))).into_bytes())
            }
            _ => Err(Errno::ENOSYS),
        }
    }

    fn client(&mut self, domain: Domid) -> &mut Client {
        self.clients.entry(domain.0).or_default()
    }

    /// Returns the nodes on which a request operates: those of the transaction, or the store's.
    fn at(&self, from: Domid, transaction: Option<u32>) -> &Nodes {
        let client = self.clients.get(&from.0);
        let found = transaction.and_then(|id| client?.transactions.get(&id));
        found.map_or(&self.nodes, |transaction| &transaction.nodes)
    }

    fn at_mut(&mut self, from: Domid, transaction: Option<u32>) -> &mut Nodes {
        let client = self.clients.get_mut(&from.0);
        let found = transaction.and_then(|id| client?.transactions.get_mut(&id));
        found.map_or(&mut self.nodes, |transaction| &mut transaction.nodes)
    }

    /// Records in a transaction that a node was read.
    fn see(&mut self, from: Domid, transaction: Option<u32>, path: &str) {
        let generation = self.nodes.all.get(path).map(|node| node.generation);
        let client = self.client(from);
        if let Some(transaction) = transaction.and_then(|id| client.transactions.get_mut(&id)) {
            transaction.seen.entry(path.to_string()).or_insert(generation);
        }
    }

    /// Returns the full path if the node exists and the domain has the access. If the node does not
    /// exist and the domain may not read its parent, returns `EACCES` instead of `ENOENT`
    /// (`get_node`, `errno_from_parents`).
    fn look_up(
        &mut self,
        from: Domid,
        transaction: Option<u32>,
        path: &str,
        may: fn(NodeAccess) -> bool,
    ) -> Result<(String, bool), Errno> {
        let path = canonical(from, path)?;
        self.see(from, transaction, &path);
        let nodes = self.at(from, transaction);
        match nodes.all.get(&path) {
            Some(node) if node.permits(from, may) => Ok((path, true)),
            Some(_) => Err(Errno::EACCES),
            None if nodes.all[nodes.above(&path)].permits(from, may) => Ok((path, false)),
            None => Err(Errno::EACCES),
        }
    }

    fn readable(
        &mut self,
        from: Domid,
        transaction: Option<u32>,
        path: &str,
    ) -> Result<String, Errno> {
        match self.look_up(from, transaction, path, reads)? {
            (path, true) => Ok(path),
            (_, false) => Err(Errno::ENOENT),
        }
    }

    fn write(&mut self, from: Domid, transaction: Option<u32>, path: &str, value: &[u8]) -> Answer {
        let (path, found) = self.look_up(from, transaction, path, writes)?;
        if found {
            let node_max = self.node_max;
            let nodes = self.at_mut(from, transaction);
            let size = nodes.size(&path) - nodes.all[&path].value.len() + value.len();
            if from != PRIVILEGED && size > node_max {
                return Err(Errno::ENOSPC);
            }
            let generation = nodes.next_generation();
            if let Some(node) = nodes.all.get_mut(&path) {
                (node.value, node.generation) = (value.to_vec(), generation);
            }
        } else {
            self.create(from, transaction, &path, value)?;
        }
        self.changed(from, transaction, &path, false);
        ok()
    }

    /// Creates a node and its missing parents, with the permissions of the nearest existing parent
    /// (`construct_node`).
    fn create(
        &mut self,
        from: Domid,
        transaction: Option<u32>,
        path: &str,
        value: &[u8],
    ) -> Result<(), Errno> {
        let node_max = self.node_max;
        let nodes = self.at_mut(from, transaction);
        let above = nodes.above(path).to_string();
        let mut permissions = nodes.all[&above].permissions.clone();
        if from != PRIVILEGED {
            permissions[0].domain = from;
        }
        let begin = if above == "/" { 0 } else { above.len() };
        let ends = path[begin + 1..].match_indices('/').map(|(at, _)| begin + 1 + at);
        let paths: Vec<&str> = ends.chain([path.len()]).map(|end| &path[..end]).collect();
        let owned = nodes.all.values().filter(|node| node.permissions[0].domain == from).count();
        // The parent's size includes the name of its new child.
        let name = paths[0].len() - begin;
        let size = permissions.len() * NODE_PERMISSION + value.len();
        let too_large = size.max(nodes.size(&above) + name) > node_max;
        if from != PRIVILEGED && (owned + paths.len() > NODES_MAX || too_large) {
            return Err(Errno::ENOSPC);
        }
        for new in paths {
            let value = if new == path { value.to_vec() } else { Vec::new() };
            let generation = nodes.next_generation();
            let node = Node { value, permissions: permissions.clone(), generation };
            nodes.all.insert(new.to_string(), node);
        }
        // The parent has one more child.
        let generation = nodes.next_generation();
        if let Some(above) = nodes.all.get_mut(&above) {
            above.generation = generation;
        }
        self.see(from, transaction, &above);
        Ok(())
    }

    fn rm(&mut self, from: Domid, transaction: Option<u32>, path: &str) -> Answer {
        let (path, found) = self.look_up(from, transaction, path, writes)?;
        let parent = parent_of(&path);
        if !found {
            let exists = self.at(from, transaction).all.contains_key(parent);
            return if exists { ok() } else { Err(Errno::ENOENT) };
        }
        if path == "/" {
            return Err(Errno::EINVAL);
        }
        let nodes = self.at_mut(from, transaction);
        let gone: Vec<String> =
            nodes.all.keys().filter(|name| is_below(name, &path)).cloned().collect();
        for name in &gone {
            nodes.all.remove(name);
        }
        let generation = nodes.next_generation();
        if let Some(parent) = nodes.all.get_mut(parent) {
            parent.generation = generation;
        }
        self.see(from, transaction, parent);
        // For a removed node below the path, only the watches of exactly that node fire
        // (`rm_node`).
        for name in gone.iter().filter(|name| **name != path) {
            self.changed(from, transaction, name, true);
        }
        self.changed(from, transaction, &path, false);
        ok()
    }

    fn directory_part(&mut self, from: Domid, transaction: Option<u32>, payload: &[u8]) -> Answer {
        let [path, offset] = two_texts(payload).ok_or(Errno::EINVAL)?;
        let path = self.readable(from, transaction, &path)?;
        let offset: usize = offset.parse().map_err(|_| Errno::EINVAL)?;
        let nodes = self.at(from, transaction);
        let list = nodes.list(&path);
        let mut answer = format!("{}\0", nodes.all[&path].generation).into_bytes();
        let rest = list.get(offset..).unwrap_or_default();
        let room = XENSTORE_PAYLOAD_MAX as usize - answer.len() - 1;
        let mut count = rest.len();
        if count > room {
            // Returns as many whole names as fit.
            count = rest[..room].iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
        }
        answer.extend_from_slice(&rest[..count]);
        if count == rest.len() {
            answer.push(0);
        }
        Ok(answer)
    }

    fn set_perms(&mut self, from: Domid, transaction: Option<u32>, payload: &[u8]) -> Answer {
        let (path, list) = first_text(payload).ok_or(Errno::EINVAL)?;
        let list = list.strip_suffix(b"\0").ok_or(Errno::EINVAL)?;
        let texts = list.split(|byte| *byte == 0).map(core::str::from_utf8);
        let permissions: Result<Vec<Permission>, Errno> = texts
            .map(|text| text.ok().and_then(|text| text.parse().ok()).ok_or(Errno::EINVAL))
            .collect();
        if from != PRIVILEGED && list.split(|byte| *byte == 0).count() > PERMISSIONS_MAX {
            return Err(Errno::ENOSPC);
        }
        let permissions = permissions?;
        let (path, found) = self.look_up(from, transaction, &path, writes)?;
        if !found {
            return Err(Errno::ENOENT);
        }
        let nodes = self.at_mut(from, transaction);
        let generation = nodes.next_generation();
        let node = nodes.all.get_mut(&path).ok_or(Errno::ENOENT)?;
        let owner = node.permissions[0].domain;
        if from != PRIVILEGED && owner != from {
            return Err(Errno::EACCES);
        }
        if from != PRIVILEGED && owner != permissions[0].domain {
            return Err(Errno::EPERM);
        }
        (node.permissions, node.generation) = (permissions, generation);
        self.changed(from, transaction, &path, false);
        ok()
    }

    fn watch(&mut self, from: Domid, payload: &[u8]) -> Answer {
        let [path, token] = two_texts(payload).ok_or(Errno::EINVAL)?;
        let special = path.starts_with('@');
        let relative = !special && !path.starts_with('/');
        let path = if special { path } else { canonical(from, &path)? };
        if path.len() > XENSTORE_REL_PATH_MAX as usize && special {
            return Err(Errno::EINVAL);
        }
        let client = self.client(from);
        if client.watches.iter().any(|watch| watch.path == path && watch.token == token) {
            return Err(Errno::EEXIST);
        }
        if from != PRIVILEGED && client.watches.len() > WATCHES_MAX {
            return Err(Errno::E2BIG);
        }
        client.watches.push(Watch { path, token, relative });
        ok()
    }

    fn unwatch(&mut self, from: Domid, payload: &[u8]) -> Answer {
        let [path, token] = two_texts(payload).ok_or(Errno::EINVAL)?;
        let path = absolute(from, &path);
        let client = self.client(from);
        let before = client.watches.len();
        client.watches.retain(|watch| watch.path != path || watch.token != token);
        if client.watches.len() < before { ok() } else { Err(Errno::ENOENT) }
    }

    fn begin(&mut self, from: Domid, transaction: Option<u32>) -> Answer {
        if transaction.is_some() {
            return Err(Errno::EBUSY);
        }
        let nodes = self.nodes.clone();
        let client = self.client(from);
        if from != PRIVILEGED && client.transactions.len() > TRANSACTIONS_MAX {
            return Err(Errno::ENOSPC);
        }
        client.last_transaction += 1;
        let id = client.last_transaction;
        let transaction = Transaction { nodes, seen: BTreeMap::new(), changed: Vec::new() };
        client.transactions.insert(id, transaction);
        Ok(format!("{id}\0").into_bytes())
    }

    fn end(&mut self, from: Domid, transaction: Option<u32>, payload: &[u8]) -> Answer {
        let commits = match payload {
            b"T\0" => true,
            b"F\0" => false,
            _ => return Err(Errno::EINVAL),
        };
        let id = transaction.ok_or(Errno::ENOENT)?;
        let ended = self.client(from).transactions.remove(&id).ok_or(Errno::ENOENT)?;
        if !commits {
            return ok();
        }
        let now = |path: &String| self.nodes.all.get(path).map(|node| node.generation);
        if ended.seen.iter().any(|(path, seen)| now(path) != *seen) {
            return Err(Errno::EAGAIN);
        }
        // Copies only the nodes that the transaction changed, because others may have changed
        // meanwhile.
        for (path, _) in &ended.changed {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            for name in ends.map(|end| &path[..end]).filter(|name| !name.is_empty()) {
                let generation = self.nodes.next_generation();
                match ended.nodes.all.get(name) {
                    Some(node) if name == path || !self.nodes.all.contains_key(name) => {
                        let node = Node { generation, ..node.clone() };
                        self.nodes.all.insert(name.to_string(), node);
                    }
                    Some(_) => {}
                    None => drop(self.nodes.all.remove(name)),
                }
            }
            let (above, generation) =
                (self.nodes.above(path).to_string(), self.nodes.next_generation());
            if let Some(above) = self.nodes.all.get_mut(&above) {
                above.generation = generation;
            }
        }
        for (path, exact) in &ended.changed {
            self.fire(path, *exact);
        }
        ok()
    }

    /// Fires watches, at once or at the end of the transaction.
    fn changed(&mut self, from: Domid, transaction: Option<u32>, path: &str, exact: bool) {
        let client = self.client(from);
        match transaction.and_then(|id| client.transactions.get_mut(&id)) {
            Some(transaction) => transaction.changed.push((path.to_string(), exact)),
            None => self.fire(path, exact),
        }
    }

    /// Fires the watches of a path and, unless `exact`, those of paths above it.
    fn fire(&mut self, path: &str, exact: bool) {
        for (domain, client) in &mut self.clients {
            let domain = Domid(*domain);
            let special = path.starts_with('@');
            let node = self.nodes.all.get(path);
            let above = &self.nodes.all[self.nodes.above(path)];
            let may = |node: &Node| node.permits(domain, reads);
            if domain != PRIVILEGED && (special || !(node.is_none_or(may) || may(above))) {
                continue;
            }
            for watch in &client.watches {
                let matches = watch.path == path || !exact && is_below(path, &watch.path);
                if matches {
                    client.outbox.extend(watch.event(domain, path));
                }
            }
        }
    }
}

impl Watch {
    /// Returns the event of a path; `None` if it does not fit into a message (`add_event`).
    fn event(&self, domain: Domid, path: &str) -> Option<(XsdSockmsg, Vec<u8>)> {
        let home = format!("{}/", home(domain));
        let shown = if self.relative { path.strip_prefix(&home).unwrap_or(path) } else { path };
        let payload = format!("{shown}\0{}\0", self.token).into_bytes();
        let length = u32::try_from(payload.len()).ok().filter(|it| *it <= XENSTORE_PAYLOAD_MAX)?;
        Some((XsdSockmsg::new(XsdSockmsgType::WATCH_EVENT, 0, 0, length), payload))
    }
}

impl Node {
    fn permits(&self, domain: Domid, may: fn(NodeAccess) -> bool) -> bool {
        let owner = self.permissions[0];
        if domain == PRIVILEGED || owner.domain == domain {
            return true;
        }
        let own = self.permissions[1..].iter().find(|entry| entry.domain == domain);
        may(own.unwrap_or(&owner).access)
    }
}

impl Nodes {
    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Returns the nearest existing node above a path.
    fn above<'p>(&self, path: &'p str) -> &'p str {
        let mut above = parent_of(path);
        while !self.all.contains_key(above) {
            above = parent_of(above);
        }
        above
    }

    fn children<'n>(&'n self, path: &'n str) -> impl Iterator<Item = &'n str> {
        let begin = if path == "/" { 1 } else { path.len() + 1 };
        let below = self.all.keys().filter(move |name| is_below(name, path) && *name != path);
        below.map(move |name| &name[begin..]).filter(|name| !name.contains('/'))
    }

    /// Returns the size of a node in the server, without its header.
    fn size(&self, path: &str) -> usize {
        let node = &self.all[path];
        let children: usize = self.children(path).map(|name| name.len() + 1).sum();
        node.permissions.len() * NODE_PERMISSION + node.value.len() + children
    }

    fn list(&self, path: &str) -> Vec<u8> {
        self.children(path).flat_map(|name| name.bytes().chain([0])).collect()
    }
}

fn reads(access: NodeAccess) -> bool {
    matches!(access, NodeAccess::Read | NodeAccess::ReadWrite)
}

fn writes(access: NodeAccess) -> bool {
    matches!(access, NodeAccess::Write | NodeAccess::ReadWrite)
}

fn ok() -> Answer {
    Ok(b"OK\0".to_vec())
}

fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

/// Returns whether `path` is `top` or below it.
fn is_below(path: &str, top: &str) -> bool {
    top == "/"
        || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn absolute(from: Domid, path: &str) -> String {
    if path.starts_with(['/', '@']) { path.to_string() } else { format!("{}/{path}", home(from)) }
}

/// `canonicalize`, `is_valid_nodename`.
fn canonical(from: Domid, path: &str) -> Result<String, Errno> {
    let path = absolute(from, path);
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-/_@".contains(&byte);
    let bad = !path.starts_with('/')
        || path.len() > 1 && path.ends_with('/')
        || path.contains("//")
        || path.len() > XENSTORE_ABS_PATH_MAX as usize
        || relative_length(&path) > XENSTORE_REL_PATH_MAX as usize
        || !path.bytes().all(is_char);
    if bad { Err(Errno::EINVAL) } else { Ok(path) }
}

/// Returns the length of a path without the directory of a domain.
fn relative_length(path: &str) -> usize {
    let rest = path.strip_prefix("/local/domain/");
    let own =
        rest.and_then(|rest| rest.split_once('/')).filter(|(id, _)| id.parse::<u32>().is_ok());
    own.map_or(path.len(), |(_, rest)| rest.len())
}

/// Returns the text up to the first zero byte, and the rest.
fn first_text(payload: &[u8]) -> Option<(String, &[u8])> {
    let end = payload.iter().position(|byte| *byte == 0)?;
    Some((String::from_utf8_lossy(&payload[..end]).into_owned(), &payload[end + 1..]))
}

/// Returns the text of a payload that consists of one text.
fn one_text(payload: &[u8]) -> Option<String> {
    first_text(payload).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| text)
}

/// Returns the first two texts of a payload.
fn two_texts(payload: &[u8]) -> Option<[String; 2]> {
    let (first, rest) = first_text(payload)?;
    let (second, _) = first_text(rest)?;
    Some([first, second])
}
