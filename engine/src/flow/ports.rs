//! Which end of a flow is the server when its beginning was not captured:
//! ports that servers listen on. A hint for the orientation of flows, never a
//! proof of what they carry.

/// Whether servers usually listen on this TCP port.
pub fn likely_tcp_server(port: u16) -> bool {
    TCP.binary_search(&port).is_ok()
}

/// Whether servers usually listen on this UDP port.
pub fn likely_udp_server(port: u16) -> bool {
    UDP.binary_search(&port).is_ok()
}

/// Registered ports of the protocols that this engine or Zeek's default set know, ascending.
const TCP: &[u16] = &[
    20, 21, 22, 23, 25, 37, 43, 53, 79, 80, 81, 88, 102, 110, 111, 113, 119, 135, 139, 143, 179,
    389, 443, 445, 465, 502, 513, 514, 515, 554, 563, 585, 587, 614, 631, 636, 853, 873, 989, 990,
    992, 993, 995, 1080, 1194, 1352, 1433, 1521, 1723, 1883, 2049, 2375, 2376, 2404, 3128, 3268,
    3269, 3306, 3389, 4444, 5060, 5061, 5222, 5223, 5269, 5432, 5671, 5672, 5900, 5984, 6379, 6443,
    6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669, 6697, 8000, 8008, 8080, 8081, 8086,
    8443, 8530, 8531, 8883, 8888, 9000, 9042, 9092, 9100, 9200, 9418, 10000, 11211, 20000, 27017,
    44818,
];

const UDP: &[u16] = &[
    53, 67, 69, 88, 111, 123, 137, 138, 161, 162, 389, 443, 500, 514, 520, 547, 853, 1194, 1645,
    1646, 1701, 1812, 1813, 1900, 2049, 2055, 2123, 2152, 3478, 3544, 4500, 4739, 4789, 5060, 5349,
    5353, 5355, 5683, 5684, 6081, 6343, 8472, 11211, 34964, 44818, 47808, 51820,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_for_binary_search() {
        assert!(TCP.is_sorted() && UDP.is_sorted());
        assert!(likely_tcp_server(443) && !likely_tcp_server(49_152));
        assert!(likely_udp_server(53) && !likely_udp_server(49_152));
    }
}
