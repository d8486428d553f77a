#include "adapters/redis/url.h"

#include <gtest/gtest.h>
#include <vector>

#include "adapters/redis/client.h"

namespace doorbuster::redis {
namespace {

using Transport = Address::Transport;

TEST(RedisUrl, NamesHostPortAndDatabase) {
    const auto plain = parse_url("redis://cache.example");
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->address, (Address{Transport::tcp, "cache.example", 6379}));
    EXPECT_EQ(plain->database, 0);
    EXPECT_TRUE(plain->password.empty());
    const auto full = parse_url("rediss://shop:p%40ss%3A%2F%25@[2001:db8::1]:7000/3");
    ASSERT_TRUE(full);
    EXPECT_EQ(full->address, (Address{Transport::tls, "2001:db8::1", 7000}));
    EXPECT_EQ(full->address.text(), "[2001:db8::1]:7000");
    EXPECT_EQ(full->user, "shop");
    EXPECT_EQ(full->password, "p@ss:/%");
    EXPECT_EQ(full->database, 3);
    const auto default_user = parse_url("redis://:secret@h/");
    ASSERT_TRUE(default_user);
    EXPECT_EQ(default_user->user, "");
    EXPECT_EQ(default_user->password, "secret");
}

TEST(RedisUrl, NamesAUnixSocket) {
    const auto url = parse_url("unix://u:p@/run/my%20redis/r.sock?db=2");
    ASSERT_TRUE(url);
    EXPECT_EQ(url->address.transport, Transport::local);
    EXPECT_EQ(url->address.host, "/run/my redis/r.sock");
    EXPECT_EQ(url->address.text(), "/run/my redis/r.sock");
    EXPECT_EQ(url->user, "u");
    EXPECT_EQ(url->password, "p");
    EXPECT_EQ(url->database, 2);
}

TEST(RedisUrl, SaysWhatIsWrongWithoutRepeatingIt) {
    const std::string long_path(120, 'p');
    for (const std::string& text :
         {std::string("cache:6379"), std::string("http://secret-host"), std::string("redis://"),
          std::string("redis://secret@h"), std::string("redis://u:@h"), std::string("redis://h:0"),
          std::string("redis://h:65536"), std::string("redis://h:12x"), std::string("redis://h/x"),
          std::string("redis://h/99999"), std::string("redis://u:secret%4@h"),
          std::string("redis://u:secret%zz@h"), std::string("redis://[::1"),
          std::string("redis://h?db=1"), std::string("redis://h h"), std::string("unix://tmp/x"),
          std::string("unix:///x?password=secret"), "unix:///" + long_path,
          "redis://" + std::string(3'000, 'h')}) {
        const auto url = parse_url(text);
        ASSERT_FALSE(url) << text;
        EXPECT_TRUE(url.error().is(Errc::invalid));
        EXPECT_EQ(url.error().context.find("secret"), std::string::npos) << url.error().context;
    }
}

TEST(RedisNodes, ShareOneLoginAndTransport) {
    const std::vector<std::string> nodes{"rediss://u:p@a.example:7000", "b.example:7001",
                                         "rediss://c.example"};
    const auto options = read_options("", nodes);
    ASSERT_TRUE(options);
    EXPECT_TRUE(options->is_cluster);
    ASSERT_EQ(options->servers.size(), 3U);
    EXPECT_EQ(options->servers[1].address, (Address{Transport::tls, "b.example", 7001}));
    EXPECT_EQ(options->servers[2].password, "p");
    const std::vector<std::string> mixed{"rediss://u:p@a.example:7000", "redis://b.example:7001"};
    EXPECT_FALSE(read_options("", mixed));
    const std::vector<std::string> with_database{"redis://a.example/2"};
    EXPECT_FALSE(read_options("", with_database));
}

TEST(RedisOptions, AreEitherAUrlOrNodes) {
    const std::vector<std::string> nodes{"a:1"};
    EXPECT_FALSE(read_options("redis://h", nodes));
    EXPECT_FALSE(read_options("", {}));
    const auto single = read_options("redis://h", {});
    ASSERT_TRUE(single);
    EXPECT_FALSE(single->is_cluster);
    const auto wrong = read_options("ftp://h", {});
    ASSERT_FALSE(wrong);
    EXPECT_TRUE(wrong.error().context.starts_with("redis.url begins with none of"));
}

} // namespace
} // namespace doorbuster::redis
