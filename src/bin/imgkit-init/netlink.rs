//! The few requests to the kernel's network configuration (rtnetlink(7)) that a boot needs: a link up, made, or moved.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::error::{Context, Error};

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 0x1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

/// Brings a link up; the loopback one gets its addresses from the kernel then.
pub(crate) fn set_up(name: &str) -> Result<(), Error> {
    let mut body = link_header(IFF_UP);
    attribute(&mut body, IFLA_IFNAME, &c_string(name));
    request(0, &body).at("bring up the network interface", name)
}

/// Makes a link of a kind such as `dummy` or `wireguard`, in the namespace of a process if one is given.
pub(crate) fn add(name: &str, kind: &str, namespace: Option<u32>) -> Result<(), Error> {
    let mut body = link_header(0);
    attribute(&mut body, IFLA_IFNAME, &c_string(name));
    if let Some(pid) = namespace {
        attribute(&mut body, IFLA_NET_NS_PID, &pid.to_ne_bytes());
    }
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, kind.as_bytes());
    attribute(&mut body, IFLA_LINKINFO, &info);
    request(NLM_F_CREATE | NLM_F_EXCL, &body).at("make the network interface", name)
}

/// Makes a pair of joined links.
pub(crate) fn add_pair(name: &str, peer: &str) -> Result<(), Error> {
    let mut end = link_header(0);
    attribute(&mut end, IFLA_IFNAME, &c_string(peer));
    let mut data = Vec::new();
    attribute(&mut data, VETH_INFO_PEER, &end);
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, b"veth");
    attribute(&mut info, IFLA_INFO_DATA, &data);
    let mut body = link_header(0);
    attribute(&mut body, IFLA_IFNAME, &c_string(name));
    attribute(&mut body, IFLA_LINKINFO, &info);
    request(NLM_F_CREATE | NLM_F_EXCL, &body).at("make the pair of network interfaces", name)
}

/// Moves a link into the network namespace of a process.
pub(crate) fn move_to(name: &str, pid: u32) -> Result<(), Error> {
    let mut body = link_header(0);
    attribute(&mut body, IFLA_IFNAME, &c_string(name));
    attribute(&mut body, IFLA_NET_NS_PID, &pid.to_ne_bytes());
    request(0, &body).at("move the network interface", name)
}

/// Sends one RTM_NEWLINK and waits for the kernel's answer.
fn request(flags: u16, body: &[u8]) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let message = message(flags | NLM_F_REQUEST | NLM_F_ACK, body);
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 4096];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match answer.get(..length).and_then(verdict) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(-code)),
        None => Err(Errno::BADMSG),
    }
}

/// Puts the header of a message before its body (struct nlmsghdr).
fn message(flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Reads the code of an acknowledgement: 0, or an error number made negative (struct nlmsgerr).
fn verdict(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code)
}

/// Begins a body that names its link by attribute; `flags` are those to set (struct ifinfomsg).
fn link_header(flags: u32) -> Vec<u8> {
    let mut header = vec![0; 8];
    header.extend(flags.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header
}

/// Appends an attribute, padded to four bytes (struct rtattr).
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Ends a name with the NUL that the kernel wants.
fn c_string(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_attributes_but_does_not_count_the_padding() {
        let mut body = Vec::new();
        attribute(&mut body, IFLA_IFNAME, &c_string("lo"));
        assert_eq!(
            body,
            [[7_u16.to_ne_bytes(), 3_u16.to_ne_bytes()].concat(), b"lo\0\0".to_vec()].concat()
        );
    }

    #[test]
    fn asks_the_real_kernel_and_hears_its_refusal() {
        // An ordinary user's or root's kernel has no such interface; the answer must be ENODEV or EPERM, not silence.
        let error = set_up("imgkit-none")
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.starts_with("cannot bring up the network interface imgkit-none: "),
            "{error}"
        );
    }
}
