package redistest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a server's, or nil: none.
type process struct {
	cmd  *exec.Cmd
	log  string
	over chan struct{}
}

// starter starts every process. Its thread lives as long as this process, and
// the kernel kills what it started when it goes: even a test that times out
// leaves nothing behind.
var starter = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// run starts a program in dir, with its output in a file there.
func run(dir, program string, args ...string) (*process, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w (apt-get install redis-server redis-sentinel)", err)
	}
	p := &process{cmd: exec.Command(path, args...), log: filepath.Join(dir, "log"), over: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	starter() <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.over)
	}()
	return p, nil
}

// until waits for ready. The error tells the end of the log.
func (p *process) until(d time.Duration, ready func() bool) error {
	for end := time.Now().Add(d); !ready(); time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.over:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.tail())
		default:
		}
		if time.Now().After(end) {
			p.end(syscall.SIGKILL)
			return fmt.Errorf("%s is not ready within %v: %s", p.cmd.Path, d, p.tail())
		}
	}
	return nil
}

func (p *process) tail() []byte {
	b, _ := os.ReadFile(p.log)
	b = bytes.TrimSpace(b)
	return b[max(0, len(b)-800):]
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// end ends the process and waits for it.
func (p *process) end(s syscall.Signal) {
	if p == nil {
		return
	}
	p.signal(s)
	select {
	case <-p.over:
	case <-time.After(5 * time.Second):
		p.signal(syscall.SIGKILL)
		<-p.over
	}
}
