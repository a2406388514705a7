//! Addresses that are not of the world: of this machine, of its networks, of its provider. Owns which these
//! are and which of them an operator allows; refuses to know who asks for them.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which addresses inside may be reached nevertheless; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    nets: Vec<(IpAddr, u8)>,
    /// Names, in lower case: whatever they resolve to.
    hosts: Vec<String>,
}

impl Inside {
    /// This machine.
    #[must_use]
    pub fn loopback() -> Self {
        let nets = vec![(Ipv4Addr::new(127, 0, 0, 0).into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
        Self { nets, hosts: Vec::new() }
    }

    /// Also allows `text`: an address, a network (`10.1.0.0/16`, `fd00::/8`), or the name of a host.
    ///
    /// # Errors
    /// What is wrong with it, for whoever wrote it.
    pub fn allow(mut self, text: &str) -> Result<Self, String> {
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr =
                address.parse().map_err(|_| format!("{address:?} is no IP address"))?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= most);
            let bits = bits.ok_or_else(|| format!("expected a prefix of 0 to {most} bits"))?;
            self.nets.push((address, bits));
        } else if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            self.nets.push((address, if address.is_ipv4() { 32 } else { 128 }));
        } else {
            let sound = !text.is_empty()
                && text.len() <= 253
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
            if !sound {
                return Err("expected a host, an address or a network such as 10.1.0.0/16".into());
            }
            self.hosts.push(text.to_ascii_lowercase());
        }
        Ok(self)
    }

    fn has_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Whether an address that `host` stands for may be reached.
    pub(crate) fn admits(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let within = |(net, bits): &(IpAddr, u8)| match (net, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => same(
                u128::from(net.to_bits()) << 96,
                u128::from(address.to_bits()) << 96,
                u32::from(*bits),
            ),
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                same(net.to_bits(), address.to_bits(), u32::from(*bits))
            }
            _ => false,
        };
        !is_inside(address) || self.has_host(host) || self.nets.iter().any(within)
    }

    /// Those of a host's addresses that may be reached.
    pub(crate) fn admitted(
        &self,
        host: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, IsInside> {
        let mut any = false;
        let found = found.inspect(|_| any = true);
        let left: Vec<SocketAddr> = found.filter(|it| self.admits(host, it.ip())).collect();
        if left.is_empty() && any { Err(IsInside) } else { Ok(left) }
    }
}

fn same(a: u128, b: u128, bits: u32) -> bool {
    (a ^ b).leading_zeros() >= bits
}

/// Why there is no connection: the host stands for addresses inside alone.
#[derive(Debug)]
pub(crate) struct IsInside;

impl fmt::Display for IsInside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is inside")
    }
}

impl StdError for IsInside {}

/// Whether an address is not one of the world's (RFC 6890 and its registries).
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => is_inside_v4(it),
        IpAddr::V6(it) => is_inside_v6(it),
    }
}

fn is_inside_v4(it: Ipv4Addr) -> bool {
    let [a, b, c, _] = it.octets();
    it.is_loopback()
        || it.is_private()
        || it.is_link_local()
        || it.is_broadcast()
        || it.is_multicast()
        || a == 0
        // Between customers of a provider, and of its own protocols.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240
}

fn is_inside_v6(it: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = it.segments();
    let v4 = |high: u16, low: u16| {
        is_inside_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
    };
    match (a, b) {
        // Unspecified, loopback, and the old way of writing addresses of version 4.
        (0, 0) if [c, d, e] == [0; 3] => true,
        // Translated by a gateway (RFC 6052, RFC 8215) and by relays (RFC 3056, RFC 4380).
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => v4(g, h),
        (0x64, 0xff9b) => true,
        (0x2002, high) => v4(high, c),
        (0x2001, 0) => true,
        _ => {
            it.is_multicast()
                // Unique local, link-local, and the former site-local ones.
                || a & 0xfe00 == 0xfc00
                || a & 0xffc0 == 0xfe80
                || a & 0xffc0 == 0xfec0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(inside: &Inside, text: &str) -> bool {
        inside.admits("peer.example", text.parse().unwrap())
    }

    #[test]
    fn what_is_not_of_the_world_is_not_reached() {
        let none = Inside::default();
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:1::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!admits(&none, inside), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "169.253.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::",
            "2001:db8::1",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert!(admits(&none, outside), "{outside}");
        }
    }

    #[test]
    fn what_the_operator_allows_is() {
        let allowed = |text: &str| Inside::default().allow(text).unwrap();
        assert!(admits(&allowed("10.1.0.0/16"), "10.1.255.1"));
        assert!(!admits(&allowed("10.1.0.0/16"), "10.2.0.1"));
        assert!(admits(&allowed("10.1.0.0/16"), "::ffff:10.1.0.1"));
        assert!(admits(&allowed("fd00::/8"), "fd12::1"));
        assert!(!admits(&allowed("fd00::/8"), "fc12::1"));
        assert!(admits(&allowed("0.0.0.0/0"), "127.0.0.1"));
        assert!(!admits(&allowed("0.0.0.0/0"), "::1"));
        assert!(admits(&allowed("[::1]"), "::1"));
        assert!(admits(&allowed("Peer.Example"), "10.0.0.1"), "the name is allowed");
        assert!(!admits(&allowed("other.example"), "10.0.0.1"));
        assert!(admits(&Inside::loopback(), "127.0.0.1") && admits(&Inside::loopback(), "::1"));
        assert!(!admits(&Inside::loopback(), "169.254.169.254"));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "x/8", "a b", "http://x", "x:80"] {
            assert!(Inside::default().allow(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_several_addresses_those_of_the_world_are_left() {
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let none = Inside::default();
        let both = [at("10.0.0.1"), at("1.1.1.1")];
        assert_eq!(none.admitted("x", both.into_iter()).unwrap(), [at("1.1.1.1")]);
        assert!(none.admitted("x", [at("10.0.0.1")].into_iter()).is_err());
        assert!(none.admitted("x", [].into_iter()).unwrap().is_empty());
    }
}
