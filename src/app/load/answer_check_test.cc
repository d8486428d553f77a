#include "app/load/answer_check.h"

#include <gtest/gtest.h>

namespace doorbuster::load {
namespace {

constexpr const char* kOrder =
    R"({"order_id":"o1","sale_id":"demo","user_id":"buyer-000001","quantity":1,)"
    R"("status":"queued","created_at":"2026-11-27T09:00:00.123Z"})";

Answer accepted(std::string_view body = kOrder) {
    Answer a;
    a.status = 202;
    a.content_type = "application/json";
    a.location = "/v1/orders/o1";
    a.body = body;
    return a;
}

Answer refused(int status, std::string_view body) {
    Answer a;
    a.status = status;
    a.content_type = "application/problem+json";
    a.body = body;
    return a;
}

std::string problem(int status, const std::string& code, const std::string& more = "") {
    return R"({"type":"/problems/)" + code + R"(","title":"T","status":)" + std::to_string(status) +
           R"(,"detail":"D","code":")" + code + '"' + more + '}';
}

class AnswerChecked : public testing::Test {
protected:
    Verdict judge(const Answer& answer, const Asked& asked) { return check_.judge(answer, asked); }
    Verdict judge(const Answer& answer) { return judge(answer, asked_); }

    Asked asked_{.user_id = "buyer-000001"};
    AnswerCheck check_{"demo"};
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
}

TEST_F(AnswerChecked, ANewOrderIsAccepted) {
    const Verdict v = judge(accepted());
    EXPECT_EQ(v.complaint, "");
    EXPECT_EQ(v.outcome, PurchaseOutcome::accepted);
    EXPECT_EQ(v.order_id, "o1");
    EXPECT_EQ(v.created_at, "2026-11-27T09:00:00.123Z");
}

TEST_F(AnswerChecked, ANewOrderOfWhichAnythingIsWrongIsUnexplained) {
    for (const auto& [from, to] : {
             std::pair{R"("order_id":"o1",)", ""},
             std::pair{R"("order_id":"o1")", R"("order_id":7)"},
             std::pair{R"("order_id":"o1")", R"("order_id":"o2")"},
             std::pair{R"("demo")", R"("other")"},
             std::pair{"buyer-000001", "buyer-000002"},
             std::pair{R"("quantity":1)", R"("quantity":2)"},
             std::pair{R"("quantity":1)", R"("quantity":"1")"},
             std::pair{"queued", "confirmed"},
             std::pair{"2026-11-27T", "2026-13-27T"},
             std::pair{".123Z", ".123+01:00"},
             std::pair{"}", ""},
         }) {
        const std::string body = replaced(kOrder, from, to);
        EXPECT_NE(judge(accepted(body)).complaint, "") << body;
    }
    Answer answer = accepted();
    answer.location = "/v1/orders/o2";
    EXPECT_NE(judge(answer).complaint, "");
    answer = accepted();
    answer.location = {};
    EXPECT_NE(judge(answer).complaint, "");
    answer = accepted();
    answer.content_type = "text/plain";
    EXPECT_NE(judge(answer).complaint, "");
}

TEST_F(AnswerChecked, AnotherSuccessThan202IsUnexplained) {
    for (const int status : {200, 201, 204, 302}) {
        Answer answer = accepted();
        answer.status = status;
        EXPECT_NE(judge(answer).complaint, "");
    }
}

TEST_F(AnswerChecked, AReplayNeedsAKeyAndABoundKeyNeedsAReplay) {
    Answer replay = accepted();
    replay.replayed = "true";
    EXPECT_NE(judge(replay).complaint, "");
    asked_.has_key = true;
    EXPECT_EQ(judge(replay).outcome, PurchaseOutcome::replayed);
    asked_.is_bound = true;
    EXPECT_EQ(judge(replay).complaint, "");
    EXPECT_NE(judge(accepted()).complaint, "");
    EXPECT_NE(judge(refused(409, problem(409, "sold_out"))).complaint, "");
    Answer busy = refused(503, "");
    const std::string body = problem(503, "unavailable");
    busy.body = body;
    busy.retry_after = "1";
    EXPECT_EQ(judge(busy).complaint, "");
}

TEST_F(AnswerChecked, EveryRefusalOfTheContractIsExplainedWithItsStatusOnly) {
    for (const auto& [status, code] :
         {std::pair{409, "sold_out"}, std::pair{409, "limit_reached"},
          std::pair{409, "not_started"}, std::pair{409, "paused"}, std::pair{410, "closed"},
          std::pair{503, "overloaded"}, std::pair{503, "unavailable"}}) {
        const std::string body = problem(status, code);
        Answer answer = refused(status, body);
        if (status == 503) {
            EXPECT_NE(judge(answer).complaint, "");
            answer.retry_after = "soon";
            EXPECT_NE(judge(answer).complaint, "");
            answer.retry_after = "2";
        }
        EXPECT_EQ(judge(answer).complaint, "") << code;
        EXPECT_STREQ(to_string(judge(answer).outcome), code);
        const std::string other = problem(404, code);
        answer.status = 404;
        answer.body = other;
        EXPECT_NE(judge(answer).complaint, "") << code;
    }
}

TEST_F(AnswerChecked, RateLimitedCarriesItsHeadersUnderAnyStatusOfTheOperator) {
    const std::string body = problem(429, "rate_limited");
    Answer answer = refused(429, body);
    answer.retry_after = "1";
    EXPECT_NE(judge(answer).complaint, "");
    answer.rate_limit = R"("user";r=0;t=1)";
    answer.rate_limit_policy = R"("user";q=5;w=1)";
    EXPECT_EQ(judge(answer).complaint, "");
    const std::string other = problem(420, "rate_limited");
    answer.status = 420;
    answer.body = other;
    EXPECT_EQ(judge(answer).complaint, "");
}

TEST_F(AnswerChecked, AProblemOfWhichAnythingIsWrongIsUnexplained) {
    const std::string good = problem(409, "sold_out", R"(,"remaining":0)");
    EXPECT_EQ(judge(refused(409, good)).complaint, "");
    for (const auto& [from, to] : {
             std::pair{"/problems/sold_out", "about:blank"},
             std::pair{R"("title":"T",)", ""},
             std::pair{R"("detail":"D",)", ""},
             std::pair{R"("status":409)", R"("status":410)"},
             std::pair{R"(,"code":"sold_out")", ""},
             std::pair{R"("code":"sold_out")", R"("code":"gone_fishing")"},
             std::pair{R"("remaining":0)", R"("remaining":1)"},
             std::pair{R"("remaining":0)", R"("remaining":-1)"},
             std::pair{R"("remaining":0)", R"("remaining":"0")"},
             std::pair{"{", ""},
         }) {
        const std::string body = replaced(good, from, to);
        EXPECT_NE(judge(refused(409, body)).complaint, "") << body;
    }
    Answer answer = refused(409, good);
    answer.content_type = "application/json";
    EXPECT_NE(judge(answer).complaint, "");
}

TEST_F(AnswerChecked, CodesThatAGoodPurchaseCannotGetAreUnexplained) {
    for (const auto& [status, code] :
         {std::pair{400, "invalid_request"}, std::pair{401, "unauthorized"},
          std::pair{404, "not_found"}, std::pair{422, "idempotency_mismatch"},
          std::pair{409, "already_exists"}}) {
        const std::string body = problem(status, code);
        EXPECT_NE(judge(refused(status, body)).complaint, "") << code;
    }
}

TEST_F(AnswerChecked, AKeyMayBeBoundToAnotherQuantityButNotToThisOne) {
    const std::string body = problem(422, "idempotency_mismatch");
    Asked keyed = asked_;
    keyed.has_key = true;
    EXPECT_EQ(judge(refused(422, body), keyed).complaint, "");
    EXPECT_EQ(judge(refused(422, body), keyed).outcome, PurchaseOutcome::idempotency_mismatch);
    EXPECT_NE(judge(refused(422, body)).complaint, ""); // no key was sent
    EXPECT_NE(judge(refused(409, body), keyed).complaint, "");
    keyed.is_bound = true; // in this run, to this quantity
    EXPECT_NE(judge(refused(422, body), keyed).complaint, "");
}

TEST_F(AnswerChecked, TheSameNoAgainIsStillCheckedAgainstItsBuyer) {
    const std::string body = problem(409, "sold_out", R"(,"remaining":0)");
    EXPECT_EQ(judge(refused(409, body)).complaint, "");
    EXPECT_EQ(judge(refused(409, body)).outcome, PurchaseOutcome::sold_out);
    Asked bound = asked_;
    bound.has_key = true;
    bound.is_bound = true;
    EXPECT_NE(judge(refused(409, body), bound).complaint, "");
    Answer other_header = refused(409, body);
    other_header.content_type = "text/html";
    EXPECT_NE(judge(other_header).complaint, "");
    other_header = refused(409, body);
    other_header.retry_after = "never";
    EXPECT_NE(judge(other_header).complaint, "");
    other_header = refused(409, body);
    other_header.replayed = "true";
    EXPECT_NE(judge(other_header).complaint, "");
    EXPECT_EQ(judge(refused(409, body)).complaint, "");
}

TEST_F(AnswerChecked, ARefusalMayNameAnOrder) {
    const std::string body = problem(409, "limit_reached", R"(,"order_id":"o9")");
    EXPECT_EQ(judge(refused(409, body)).order_id, "o9");
    const std::string none = problem(409, "limit_reached");
    EXPECT_EQ(judge(refused(409, none)).order_id, "");
    const std::string bad = problem(409, "limit_reached", R"(,"order_id":9)");
    EXPECT_NE(judge(refused(409, bad)).complaint, "");
}

} // namespace
} // namespace doorbuster::load
