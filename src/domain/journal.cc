#include "domain/journal.h"

#include "domain/json_text.h"

namespace doorbuster {
namespace {

// Writes the field into both objects if it differs; into `after` alone if there was no before.
class Differences {
public:
    explicit Differences(const SaleTerms* before) : is_new_(before == nullptr) {}

    template <class T> Differences& field(std::string_view name, const T& was, const T& is) {
        if (is_new_ || was != is) after_.field(name, is);
        if (!is_new_ && was != is) before_.field(name, was);
        return *this;
    }
    [[nodiscard]] std::pair<std::string, std::string> take() {
        return {before_.take(), after_.take()};
    }

private:
    bool is_new_;
    JsonObject before_;
    JsonObject after_;
};

std::int64_t seconds(Duration time) { return time.count() / 1000; }

} // namespace

std::pair<std::string, std::string> changed_terms(const SaleTerms* before, const SaleTerms& after) {
    const SaleTerms& was = before != nullptr ? *before : after;
    return Differences(before)
        .field("title", was.title, after.title)
        .field("stock", was.stock, after.stock)
        .field("per_user_limit", was.per_user_limit, after.per_user_limit)
        .field("starts_at", was.starts_at, after.starts_at)
        .field("ends_at", was.ends_at, after.ends_at)
        .field("price", was.price, after.price)
        .field("currency", was.currency, after.currency)
        .field("payment_timeout_s", seconds(was.payment_timeout), seconds(after.payment_timeout))
        .field("paused", was.paused, after.paused)
        .field("closed_at", was.closed_at, after.closed_at)
        .take();
}

} // namespace doorbuster
