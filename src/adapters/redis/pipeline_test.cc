#include "adapters/redis/pipeline.h"

#include <gtest/gtest.h>
#include <string>

namespace doorbuster::redis {
namespace {

using Time = Pipeline::Time;
using std::chrono::seconds;

constexpr Time kStart{seconds(1'000)};

Reply word(const std::string& text) {
    Reply reply;
    reply.kind = Reply::Kind::status;
    reply.text = text;
    return reply;
}

class PipelineTest : public testing::Test {
protected:
    // A caller of this name, which writes down what it is told.
    Pipeline::Waiting caller(const std::string& name) {
        return Pipeline::Waiting([this, name](Result<Reply> reply) {
            told_ += name + "=" + (reply ? reply->text : reply.error().message()) + " ";
        });
    }
    void push(const std::string& name, seconds deadline, seconds due = seconds(60)) {
        pipeline_.push(caller(name), kStart + deadline, kStart + due);
    }
    void answer(const std::string& text) {
        if (auto waiting = pipeline_.answer()) waiting(word(text));
    }

    Pipeline pipeline_;
    std::string told_;
};

TEST_F(PipelineTest, GivesEachReplyToTheOldestCall) {
    push("a", seconds(5));
    pipeline_.push({}, kStart, kStart); // nobody waits for this one
    push("b", seconds(5));
    answer("1");
    answer("2");
    answer("3");
    EXPECT_EQ(told_, "a=1 b=3 ");
    EXPECT_TRUE(pipeline_.is_empty());
}

TEST_F(PipelineTest, GivesALateReplyToNobody) {
    push("hasty", seconds(1));
    push("patient", seconds(5));
    EXPECT_TRUE(pipeline_.expire(kStart).empty());
    EXPECT_EQ(pipeline_.expire(kStart + seconds(1)).size(), 1U);
    EXPECT_TRUE(pipeline_.expire(kStart + seconds(1)).empty()) << "told once";
    answer("late");
    answer("right");
    EXPECT_EQ(told_, "patient=right ");
}

TEST_F(PipelineTest, KnowsWhenToLookAgain) {
    EXPECT_EQ(pipeline_.next_check(), Time::max());
    push("a", seconds(5), seconds(20));
    push("b", seconds(2), seconds(21));
    EXPECT_EQ(pipeline_.next_check(), kStart + seconds(2));
    static_cast<void>(pipeline_.expire(kStart + seconds(2)));
    EXPECT_EQ(pipeline_.next_check(), kStart + seconds(5));
    static_cast<void>(pipeline_.expire(kStart + seconds(5)));
    EXPECT_EQ(pipeline_.next_check(), kStart + seconds(20));
    EXPECT_FALSE(pipeline_.is_stalled(kStart + seconds(19)));
    EXPECT_TRUE(pipeline_.is_stalled(kStart + seconds(20)));
}

TEST_F(PipelineTest, TellsWhatWasSentFromWhatWasNot) {
    push("answered", seconds(5));
    push("sent", seconds(5));
    push("expired", seconds(1));
    pipeline_.mark_sent();
    push("unsent", seconds(5));
    answer("1");
    static_cast<void>(pipeline_.expire(kStart + seconds(1)));
    Pipeline::Lost lost = pipeline_.take_all();
    ASSERT_EQ(lost.sent.size(), 1U);
    ASSERT_EQ(lost.unsent.size(), 1U);
    lost.sent[0](word("s"));
    lost.unsent[0](word("u"));
    EXPECT_EQ(told_, "answered=1 sent=s unsent=u ");
    EXPECT_TRUE(pipeline_.is_empty());
}

} // namespace
} // namespace doorbuster::redis
