#include "adapters/redis/resp.h"

#include <charconv>
#include <hiredis/read.h>
#include <new>
#include <utility>

namespace doorbuster::redis {
namespace {

void append_head(std::string& out, char type, std::size_t number) {
    char digits[24];
    digits[0] = type;
    char* end = std::to_chars(digits + 1, digits + sizeof(digits) - 2, number).ptr;
    *end++ = '\r';
    *end++ = '\n';
    out.append(digits, end);
}

// Where the reader puts what it has read: into its array, or a new root. Null: the reader gives up.
Reply* place(const redisReadTask* task) {
    if (task->parent == nullptr) return new (std::nothrow) Reply;
    auto& items = static_cast<Reply*>(task->parent->obj)->items;
    return &items[static_cast<std::size_t>(task->idx)];
}

void* create_string(const redisReadTask* task, char* text, std::size_t size) {
    Reply* const reply = place(task);
    if (reply == nullptr) return nullptr;
    reply->kind = task->type == REDIS_REPLY_ERROR    ? Reply::Kind::error
                  : task->type == REDIS_REPLY_STATUS ? Reply::Kind::status
                                                     : Reply::Kind::text;
    reply->text.assign(text, size);
    return reply;
}

void* create_array(const redisReadTask* task, int size) {
    const auto count = static_cast<std::size_t>(size);
    if (size < 0 || count > kReplyItemsMax) return nullptr;
    Reply* const reply = place(task);
    if (reply == nullptr) return nullptr;
    reply->kind = Reply::Kind::array;
    reply->items.resize(count);
    return reply;
}

void* create_integer(const redisReadTask* task, long long value) {
    Reply* const reply = place(task);
    if (reply == nullptr) return nullptr;
    reply->kind = Reply::Kind::integer;
    reply->integer = value;
    return reply;
}

void* create_nil(const redisReadTask* task) { return place(task); }

void free_root(void* reply) { delete static_cast<Reply*>(reply); }

// hiredis takes it as not const and does not write to it.
redisReplyObjectFunctions kFunctions{create_string, create_array, create_integer, create_nil,
                                     free_root};

} // namespace

void append_command(std::string& out, std::span<const std::string_view> arguments) {
    append_head(out, '*', arguments.size());
    for (const std::string_view argument : arguments) {
        append_head(out, '$', argument.size());
        out.append(argument);
        out.append("\r\n");
    }
}

void ReplyReader::Free::operator()(redisReader* reader) const { redisReaderFree(reader); }

ReplyReader::ReplyReader() : reader_(redisReaderCreateWithFunctions(&kFunctions)) {
    if (reader_ == nullptr) throw std::bad_alloc();
}

ReplyReader::~ReplyReader() = default;

void ReplyReader::feed(std::string_view bytes) {
    bytes_waiting_ += bytes.size();
    // What it fails with, next() says, too.
    static_cast<void>(redisReaderFeed(reader_.get(), bytes.data(), bytes.size()));
}

Result<std::optional<Reply>> ReplyReader::next() {
    void* root = nullptr;
    if (redisReaderGetReply(reader_.get(), &root) != REDIS_OK) {
        return fail(Errc::corrupt, std::string("not the Redis protocol: ") + reader_->errstr);
    }
    if (root == nullptr) {
        if (bytes_waiting_ <= kReplyBytesMax) return std::nullopt;
        return fail(Errc::corrupt,
                    "a reply of more than " + std::to_string(kReplyBytesMax) + " bytes");
    }
    bytes_waiting_ = reader_->len - reader_->pos;
    const std::unique_ptr<Reply> reply(static_cast<Reply*>(root));
    return std::move(*reply);
}

} // namespace doorbuster::redis
