// Books: can all the answers together be true? They know which buyer was told to have which order,
// and compare that with what the server says of its sale before and after the run. Any thread: one
// lock, taken for accepted orders and for rare refusals, never for a plain sold_out.
//
// Memory: about 70 bytes an accepted order; buyers who were refused cost nothing.
//
// The run is alone with its buyers: a user prefix is in use by one run at a time, and the sale's
// limit does not change meanwhile. Other buyers may buy, and the stock may change.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/fingerprint.h"
#include "domain/ids.h"

namespace doorbuster::load {

// What GET /v1/sales/{sale} says.
struct SaleFacts {
    Units stock = 0;
    Units remaining = 0;
    Units per_user_limit = 1;
    std::int64_t payment_timeout_s = 0;

    [[nodiscard]] Units sold() const { return stock - remaining; }
};

struct BooksShape {
    SaleFacts sale; // before the run
    bool keys = false;
    std::uint64_t orders_expected = 0; // how many to make room for, so that maps do not grow
};

class Books {
public:
    explicit Books(const BooksShape& shape);

    // What a 202 is to the books.
    struct Entry {
        bool is_new = false; // an order that this run had not seen yet
        std::string complaint;
    };
    [[nodiscard]] Entry accepted(std::uint64_t buyer, Units quantity, std::string_view order_id,
                                 std::string_view created_at);
    [[nodiscard]] Entry replayed(std::uint64_t buyer, Units quantity, std::string_view order_id,
                                 std::string_view created_at);
    // These return a complaint, or an empty text. `order_id` may be empty.
    [[nodiscard]] std::string limit_reached(std::uint64_t buyer, Units quantity,
                                            std::string_view order_id);
    // With keys: the buyer's key is bound to another quantity.
    [[nodiscard]] std::string idempotency_mismatch(std::uint64_t buyer) const;
    // An attempt of this buyer may have become an order: the connection broke, or a 503 names one.
    void outcome_unknown(std::uint64_t buyer);

    // With keys: has this buyer been answered 202?
    [[nodiscard]] bool is_bound(std::uint64_t buyer);
    [[nodiscard]] Units units();

    // What else happened in the run, for the last check.
    struct End {
        SaleFacts sale; // after the run
        double seconds = 0;
        // Every attempt has an answer, and none was a 503: no hold can have been given back.
        bool is_undisturbed = true;
        Units sold_out_quantity_min = 0; // the smallest that was refused as sold out; 0: none
    };
    // The complaints about the run as a whole; empty when everything adds up.
    [[nodiscard]] std::vector<std::string> close(const End& end);

private:
    struct Buyer {
        std::uint64_t answer = 0; // with keys: of the order's id and time
        std::uint32_t units = 0;
        bool has_order = false;   // a new order was seen, or its replay after a lost answer
        bool has_replay = false;  // a replay was seen
        bool has_unknown = false; // an attempt has no answer
    };

    Entry enter(Buyer& entry, std::uint64_t buyer, Units quantity, std::uint64_t order);
    [[nodiscard]] std::uint64_t order_print(std::string_view order_id) const;
    [[nodiscard]] std::uint64_t answer_print(std::string_view order_id,
                                             std::string_view created_at) const;
    void close_stock(const End& end, std::vector<std::string>& out) const;

    BooksShape shape_;
    Fingerprinter prints_;
    std::mutex mutex_; // guards what follows
    boost::unordered_flat_map<std::uint64_t, Buyer> buyers_;
    boost::unordered_flat_map<std::uint64_t, std::uint64_t> owners_; // order to buyer
    // The smallest quantity that a buyer was refused for the limit while we knew too few of their
    // orders to say why. Looked at again at the end.
    boost::unordered_flat_map<std::uint64_t, Units> limited_;
    Units units_ = 0;
};

} // namespace doorbuster::load
