// AnswerCheck: does one answer to a purchase say what the contract (section 3) lets it say? It
// looks at one answer alone; whether all answers together can be true is books.h. Pure, without
// locks: every thread has its own.
//
// The table of codes is written down here a second time, beside the server's, on purpose: a proof
// that shared the server's tables would share its mistakes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "app/load/answer_reader.h"
#include "domain/ids.h"
#include "domain/purchase.h"

namespace doorbuster::load {

// What was asked.
struct Asked {
    std::string_view user_id;
    Units quantity = 1;
    bool has_key = false;
    // With a key: the buyer had been answered 202 before this attempt was sent.
    bool is_bound = false;
};

// What was answered.
struct Verdict {
    // accepted, replayed or a refusal; meaningless where `complaint` is not empty.
    PurchaseOutcome outcome = PurchaseOutcome::accepted;
    std::string order_id;   // accepted, replayed; of a refusal where it names one, else empty
    std::string created_at; // accepted, replayed
    std::string complaint;  // why the answer breaks the contract, for people; empty: it does not

    [[nodiscard]] bool is_explained() const { return complaint.empty(); }
};

class AnswerCheck {
public:
    explicit AnswerCheck(std::string sale_id) : sale_id_(std::move(sale_id)) {}

    // Valid until the next call.
    [[nodiscard]] const Verdict& judge(const Answer& answer, const Asked& asked);

private:
    void judge_accepted(const Answer& answer, const Asked& asked);
    void judge_refused(const Answer& answer, const Asked& asked);
    [[nodiscard]] bool is_like_the_last(const Answer& answer) const;
    void remember(const Answer& answer);
    void complain(const Answer& answer, std::string_view why);

    std::string sale_id_;
    Verdict verdict_;

    // The last refusal that said nothing of its buyer. When a sale is sold out nearly all answers
    // are equal to it, and comparing bytes takes a tenth of reading JSON.
    PurchaseOutcome last_outcome_ = PurchaseOutcome::accepted; // accepted: there is none
    int last_status_ = 0;
    std::string last_body_;
    std::string last_headers_;
};

} // namespace doorbuster::load
