// A connection to an SQLite file and its prepared statements. One thread at a time.
// Nothing here may be included together with SOCI's header, which wraps sqlite3.h in a namespace.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace doorbuster::sqlite {

// Errc::unavailable: the disk is full, nothing was changed, the same may be tried again.
// Errc::corrupt and Errc::io say what they say and are not to be tried again.
class Statement {
public:
    Statement() = default;

    void bind(int index, std::int64_t value);
    // The text must stay where it is until the statement is reset.
    void bind(int index, std::string_view text);
    void bind_blob(int index, std::string_view bytes);

    // True: a row is there. False: done (and reset).
    [[nodiscard]] Result<bool> step();
    // For statements without rows: step and reset.
    [[nodiscard]] Result<void> run();
    void reset();

    [[nodiscard]] std::int64_t integer(int column) const;
    [[nodiscard]] std::string_view text(int column) const; // valid until the next step or reset

private:
    friend class Database;
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const;
    };
    std::unique_ptr<sqlite3_stmt, Finalize> statement_;
    sqlite3* database_ = nullptr;
};

enum class OpenMode { read_write_create, read_only };

class Database {
public:
    [[nodiscard]] static Result<Database> open(const std::string& path, OpenMode mode);

    // Statements without rows, separated by semicolons.
    [[nodiscard]] Result<void> execute(const char* sql);
    [[nodiscard]] Result<Statement> prepare(std::string_view sql);
    // May closing copy the write-ahead log into the file and delete it? Not at first.
    void tidy_up_on_close();
    // No checkpoint but checkpoint(): SQLite's automatic ones swallow a failed sync.
    void checkpoint_by_hand();
    // Copies the write-ahead log into the file, as far as readers let it; its syncs are checked.
    [[nodiscard]] Result<void> checkpoint();
    // Pages in the write-ahead log as of the last commit on this connection.
    [[nodiscard]] int wal_pages() const { return *wal_pages_; }

private:
    struct Close {
        void operator()(sqlite3* database) const;
    };
    std::unique_ptr<int> wal_pages_ = std::make_unique<int>(0); // SQLite's hook writes here
    std::unique_ptr<sqlite3, Close> database_;
    std::string path_;
};

} // namespace doorbuster::sqlite
