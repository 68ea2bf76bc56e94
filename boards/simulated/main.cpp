// A board's top level behind a pseudo-terminal: clocks the Verilated module `board`, and carries bytes between its
// UART pins and the terminal, bit by bit.
//
// Arguments: clocks a bit of the line (may be a fraction), clocks of quiet after which time stands still.
// On standard output: one line `port PATH`, then one line an answer. On standard input: `state`, answered with
// clocks, busy, the LEDs as a number, bytes received and sent, and broken bytes from the board; `break BITS`, which
// holds the line to the board low for so long, whatever is on it, and is answered the same; the end of the input ends
// the simulation.
//
// Time passes while a byte is on its way, while the core is busy, and for the given number of clocks after both, so
// that every time-out of the link runs out; then the process sleeps until a byte comes. No byte is lost: time also
// stands still while the terminal takes no more bytes.

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <termios.h>
#include <unistd.h>

#include "Vboard.h"
#include "verilated.h"

namespace {

// Clocks between two looks at the terminal while the board runs.
constexpr uint64_t kLook = 64;
// Clocks from power to the first byte: a host takes longer to find a board than its PLL takes to lock.
constexpr uint64_t kPowerUp = 2000;

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

// The host's end stays open here too: a host that goes and comes finds the terminal as it was.
int open_terminal(std::string& path) {
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) fail("pseudo-terminal");
    path = ptsname(master);
    const int host = open(path.c_str(), O_RDWR | O_NOCTTY);
    termios settings;
    if (host < 0 || tcgetattr(host, &settings) != 0) fail("pseudo-terminal");
    cfmakeraw(&settings);
    if (tcsetattr(host, TCSANOW, &settings) != 0) fail("pseudo-terminal");
    return master;
}

// Bytes from the host, ten bits each, at the line's own rate, without a gap where there are more.
class Sender {
  public:
    explicit Sender(double clocks_a_bit) : bit_(clocks_a_bit) {}
    bool busy(uint64_t now) const { return static_cast<double>(now) < end_; }
    void start(uint8_t byte, uint64_t now) {
        frame_ = uint32_t{byte} << 1 | 0x200;
        begin_ = static_cast<double>(now) - end_ < 1 ? end_ : static_cast<double>(now);
        end_ = begin_ + 10 * bit_;
    }
    bool level(uint64_t now) const {
        return !busy(now) || (frame_ >> static_cast<int>((static_cast<double>(now) - begin_) / bit_) & 1) != 0;
    }

  private:
    double bit_;
    double begin_ = 0;
    double end_ = 0;
    uint32_t frame_ = 0;
};

// Bytes to the host, each bit sampled in its middle.
class Receiver {
  public:
    explicit Receiver(double clocks_a_bit) : bit_(clocks_a_bit) {}
    bool busy() const { return left_ != 0; }
    // 0 to 255: a byte is complete; -1: none; -2: its stop bit was low.
    int sample(bool line, uint64_t now) {
        if (left_ == 0) {
            if (line) armed_ = true;
            if (line || !armed_) return -1;
            armed_ = false;
            left_ = 10;
            byte_ = 0;
            next_ = static_cast<double>(now) + 0.5 * bit_;
            return -1;
        }
        if (static_cast<double>(now) < next_) return -1;
        next_ += bit_;
        --left_;
        if (left_ == 9) return -1;  // the start bit
        if (left_ != 0) {
            byte_ = static_cast<uint8_t>(byte_ >> 1 | (line ? 0x80 : 0));
            return -1;
        }
        if (!line) return -2;
        armed_ = true;
        return byte_;
    }

  private:
    double bit_;
    double next_ = 0;
    int left_ = 0;
    uint8_t byte_ = 0;
    bool armed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s CLOCKS_A_BIT QUIET_CLOCKS [+verilator+...]\n", argv[0]);
        return 2;
    }
    const double clocks_a_bit = std::atof(argv[1]);
    const uint64_t quiet_clocks = std::strtoull(argv[2], nullptr, 10);

    VerilatedContext context;
    context.commandArgs(argc, argv);
    Vboard board{&context};
    std::string path;
    const int terminal = open_terminal(path);

    Sender sender(clocks_a_bit);
    Receiver receiver(clocks_a_bit);
    uint8_t incoming[4096];
    size_t have = 0, taken = 0;
    uint64_t now = 0, active = 0, received = 0, sent = 0, broken = 0, held = 0;
    std::string commands;

    // Answers commands; false when the other side has gone.
    auto obey = [&]() {
        char text[256];
        const ssize_t count = read(STDIN_FILENO, text, sizeof text);
        if (count <= 0) return count < 0 && errno == EINTR;
        commands.append(text, static_cast<size_t>(count));
        for (size_t end; (end = commands.find('\n')) != std::string::npos; commands.erase(0, end + 1)) {
            const bool hold = commands.compare(0, 6, "break ") == 0;
            if (hold) held = now + static_cast<uint64_t>(clocks_a_bit * std::atof(commands.c_str() + 6));
            if (hold || commands.compare(0, end, "state") == 0) {
                std::printf("%llu %d %u %llu %llu %llu\n", static_cast<unsigned long long>(now),
                            static_cast<int>(board.busy), static_cast<unsigned>(board.leds),
                            static_cast<unsigned long long>(received), static_cast<unsigned long long>(sent),
                            static_cast<unsigned long long>(broken));
                std::fflush(stdout);
            }
        }
        return true;
    };
    // Waits for a byte, for room (`events`), or for a command; false when there is nobody to command.
    auto wait = [&](short events, int milliseconds) {
        pollfd watched[2] = {{terminal, events, 0}, {STDIN_FILENO, POLLIN, 0}};
        if (poll(watched, 2, milliseconds) < 0 && errno != EINTR) fail("poll");
        if (watched[1].revents != 0 && !obey()) return false;
        if ((events & POLLIN) != 0 && (watched[0].revents & POLLIN) != 0) {
            const ssize_t count = read(terminal, incoming, sizeof incoming);
            if (count < 0 && errno != EAGAIN && errno != EINTR && errno != EIO) fail("terminal");
            taken = 0;
            have = count > 0 ? static_cast<size_t>(count) : 0;
        }
        return true;
    };

    board.rx = 1;
    board.clk = 0;
    board.eval();
    for (; now < kPowerUp; ++now) {
        board.clk = 1;
        board.eval();
        board.clk = 0;
        board.eval();
    }
    std::printf("port %s\n", path.c_str());
    std::fflush(stdout);
    for (;;) {
        if (taken == have && now % kLook == 0) {
            const bool quiet = now - active >= quiet_clocks;
            if (!wait(POLLIN, quiet ? -1 : 0)) break;
            if (quiet && taken == have && now >= held) continue;
        }
        if (taken != have && !sender.busy(now)) {
            sender.start(incoming[taken++], now);
            ++received;
        }
        board.rx = now >= held && sender.level(now);
        board.clk = 1;
        board.eval();
        const int byte = receiver.sample(board.tx, now);
        board.clk = 0;
        board.eval();
        ++now;
        if (sender.busy(now) || receiver.busy() || board.busy || now < held) active = now;
        if (byte == -2) ++broken;
        if (byte < 0) continue;
        ++sent;
        const uint8_t one = static_cast<uint8_t>(byte);
        while (write(terminal, &one, 1) != 1) {
            if (errno != EAGAIN && errno != EINTR) fail("terminal");
            if (!wait(POLLOUT, -1)) return 0;
        }
    }
    board.final();
    return 0;
}
