#include "adapters/redis/slots.h"

#include <gtest/gtest.h>

namespace doorbuster::redis {
namespace {

Reply number(std::int64_t value) {
    Reply reply;
    reply.kind = Reply::Kind::integer;
    reply.integer = value;
    return reply;
}
Reply text(std::string value) {
    Reply reply;
    reply.kind = Reply::Kind::text;
    reply.text = std::move(value);
    return reply;
}
Reply array(std::vector<Reply> items) {
    Reply reply;
    reply.kind = Reply::Kind::array;
    reply.items = std::move(items);
    return reply;
}
Reply error(std::string value) {
    Reply reply;
    reply.kind = Reply::Kind::error;
    reply.text = std::move(value);
    return reply;
}

TEST(Slots, AreTheSpecificationsOwn) {
    EXPECT_EQ(slot_of("123456789"), 0x31c3 % kSlots); // its test vector
    EXPECT_EQ(slot_of("foo"), 12'182);
    EXPECT_EQ(slot_of(""), 0);
}

TEST(Slots, GoByTheHashTag) {
    EXPECT_EQ(slot_of("{user1000}.following"), slot_of("user1000"));
    EXPECT_EQ(slot_of("a{b}{c}"), slot_of("b"));
    EXPECT_EQ(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    EXPECT_NE(slot_of("foo{}{bar}"), slot_of("bar")); // an empty tag is none
    EXPECT_NE(slot_of("foo{bar"), slot_of("bar"));
}

TEST(SlotMap, SaysWhoHasASlot) {
    const Reply reply =
        array({array({number(0), number(99), array({text("10.0.0.1"), number(7000), text("id1")}),
                      array({text("10.0.0.9"), number(7000), text("id9")})}),
               array({number(101), number(16'383), array({text(""), number(7001), text("id2")})})});
    auto map = SlotMap::parse(reply, "asked.example");
    ASSERT_TRUE(map);
    EXPECT_EQ(map->nodes().size(), 2U) << "replicas are nobody to us";
    EXPECT_EQ(*map->node_of(99), (HostPort{"10.0.0.1", 7000}));
    EXPECT_EQ(map->node_of(100), nullptr);
    EXPECT_EQ(map->slots_without_node(), 1U);
    EXPECT_EQ(*map->node_of(101), (HostPort{"asked.example", 7001}));
    map->move(100, {"10.0.0.3", 7002});
    EXPECT_EQ(*map->node_of(100), (HostPort{"10.0.0.3", 7002}));
    EXPECT_EQ(map->slots_without_node(), 0U);
}

TEST(SlotMap, IsNotMadeFromNonsense) {
    const auto node = array({text("h"), number(1), text("id")});
    EXPECT_FALSE(SlotMap::parse(error("ERR This instance has cluster support disabled"), "h"));
    EXPECT_FALSE(SlotMap::parse(array({number(1)}), "h"));
    EXPECT_FALSE(SlotMap::parse(array({array({number(0), number(16'384), node})}), "h"));
    EXPECT_FALSE(SlotMap::parse(array({array({number(-1), number(2), node})}), "h"));
    EXPECT_FALSE(SlotMap::parse(array({array({number(3), number(2), node})}), "h"));
    EXPECT_FALSE(SlotMap::parse(
        array({array({number(0), number(2), array({text("h"), number(70'000)})})}), "h"));
}

TEST(Redirect, IsReadFromTheErrorsText) {
    const Redirect moved = redirect_of(error("MOVED 3999 127.0.0.1:6381"));
    EXPECT_EQ(moved.kind, Redirect::Kind::moved);
    EXPECT_EQ(moved.slot, 3999);
    EXPECT_EQ(moved.node, (HostPort{"127.0.0.1", 6381}));
    const Redirect ask = redirect_of(error("ASK 1 2001:db8::7:6381"));
    EXPECT_EQ(ask.kind, Redirect::Kind::ask);
    EXPECT_EQ(ask.node, (HostPort{"2001:db8::7", 6381}));
    EXPECT_EQ(redirect_of(error("MOVED 1 :6381")).node, (HostPort{"", 6381}));
    EXPECT_EQ(redirect_of(error("TRYAGAIN Multiple keys")).kind, Redirect::Kind::later);
    EXPECT_EQ(redirect_of(error("CLUSTERDOWN The cluster")).kind, Redirect::Kind::later);
    EXPECT_EQ(redirect_of(error("LOADING Redis is")).kind, Redirect::Kind::other_node);
    EXPECT_EQ(redirect_of(error("READONLY You can't")).kind, Redirect::Kind::other_node);
    EXPECT_EQ(redirect_of(error("ERR Error running script (call to f_1): @user_script:1: "
                                "-READONLY You can't write"))
                  .kind,
              Redirect::Kind::other_node);
    for (const char* const other : {"ERR x", "MOVED", "MOVED x y", "MOVED 16384 h:1", "MOVED 1 h",
                                    "ASK", "MOVED 1 h:0", "READONLYX"}) {
        EXPECT_EQ(redirect_of(error(other)).kind, Redirect::Kind::none) << other;
    }
    EXPECT_EQ(redirect_of(text("MOVED 1 h:1")).kind, Redirect::Kind::none);
}

} // namespace
} // namespace doorbuster::redis
