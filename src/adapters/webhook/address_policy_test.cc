#include "adapters/webhook/address_policy.h"

#include <gtest/gtest.h>
#include <string>
#include <utility>

namespace doorbuster::webhook {
namespace {

std::string network_of(const std::string& address) {
    const auto name = special_network(boost::asio::ip::make_address(address));
    return name ? std::string(*name) : std::string("public");
}

TEST(AddressPolicy, KnowsEverySpecialNetworkByItsFirstAndLastAddress) {
    const std::pair<const char*, const char*> table[] = {
        {"0.0.0.0", "\"this host\""},
        {"0.255.255.255", "\"this host\""},
        {"10.0.0.0", "a private network"},
        {"10.255.255.255", "a private network"},
        {"100.64.0.0", "shared by a provider's customers (CGNAT)"},
        {"100.127.255.255", "shared by a provider's customers (CGNAT)"},
        {"127.0.0.1", "loopback"},
        {"127.255.255.255", "loopback"},
        {"169.254.0.0", "link-local"},
        {"169.254.169.254", "link-local"},
        {"169.254.255.255", "link-local"},
        {"172.16.0.0", "a private network"},
        {"172.31.255.255", "a private network"},
        {"192.0.0.255", "reserved"},
        {"192.0.2.1", "a network for documentation"},
        {"192.88.99.1", "reserved"},
        {"192.168.0.0", "a private network"},
        {"192.168.255.255", "a private network"},
        {"198.18.0.0", "a network for benchmarks"},
        {"198.19.255.255", "a network for benchmarks"},
        {"198.51.100.255", "a network for documentation"},
        {"203.0.113.0", "a network for documentation"},
        {"224.0.0.0", "multicast"},
        {"239.255.255.255", "multicast"},
        {"240.0.0.0", "reserved"},
        {"255.255.255.254", "reserved"},
        {"255.255.255.255", "broadcast"},
        {"::", "\"this host\""},
        {"::1", "loopback"},
        {"::7f00:1", "reserved"},
        {"64:ff9b:1::1", "a private network"},
        {"100::1", "discard-only"},
        {"2001::1", "reserved"},
        {"2001:1ff:ffff::1", "reserved"},
        {"2001:db8::1", "a network for documentation"},
        {"3fff:fff::1", "a network for documentation"},
        {"5f00::1", "reserved"},
        {"fc00::1", "a private network (unique local)"},
        {"fdff:ffff::1", "a private network (unique local)"},
        {"fe80::1", "link-local"},
        {"febf:ffff::1", "link-local"},
        {"fec0::1", "a private network"},
        {"ff02::1", "multicast"},
    };
    for (const auto& [address, name] : table) EXPECT_EQ(network_of(address), name) << address;
}

TEST(AddressPolicy, LooksThroughAddressesThatCarryAnother) {
    const std::pair<const char*, const char*> table[] = {
        {"::ffff:127.0.0.1", "loopback"}, {"::ffff:169.254.169.254", "link-local"},
        {"::ffff:8.8.8.8", "public"},     {"64:ff9b::10.0.0.1", "a private network"},
        {"64:ff9b::8.8.8.8", "public"},   {"2002:c0a8:101::1", "a private network"},
        {"2002:808:808::1", "public"},
    };
    for (const auto& [address, name] : table) EXPECT_EQ(network_of(address), name) << address;
}

TEST(AddressPolicy, LetsPublicNeighboursThrough) {
    for (const char* address : {"1.0.0.0",      "9.255.255.255",   "11.0.0.0",    "100.63.255.255",
                                "100.128.0.0",  "126.255.255.255", "128.0.0.0",   "169.253.255.255",
                                "169.255.0.0",  "172.15.255.255",  "172.32.0.0",  "192.0.1.0",
                                "192.0.3.0",    "192.167.255.255", "192.169.0.0", "198.17.255.255",
                                "198.20.0.0",   "198.51.101.0",    "203.0.114.0", "223.255.255.255",
                                "2001:200::1",  "2001:db7::1",     "2001:db9::1", "2606:4700::1",
                                "3fff:1000::1", "64:ff9a::1",      "fbff::1"}) {
        EXPECT_EQ(network_of(address), "public") << address;
    }
}

} // namespace
} // namespace doorbuster::webhook
