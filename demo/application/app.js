'use strict';

// line adds a line to a box and keeps the last ones in sight.
function line(box, text) {
  box.append(text + '\n');
  while (box.childNodes.length > 50) box.firstChild.remove();
  box.scrollTop = box.scrollHeight;
}

function events(box, state) {
  const source = new EventSource('/events');
  source.onopen = () => { state.textContent = 'open'; };
  source.onerror = () => { state.textContent = source.readyState === EventSource.CLOSED ? 'closed' : 'connecting'; };
  source.onmessage = (e) => {
    const { n, time, user } = JSON.parse(e.data);
    line(box, `${n}  ${time}  ${user || 'nobody'}`);
  };
}

function echo(box, state, form) {
  const url = new URL('/echo', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const socket = new WebSocket(url);
  let first = true;
  socket.onopen = () => { state.textContent = 'open'; };
  socket.onclose = () => { state.textContent = 'closed'; };
  socket.onmessage = (e) => {
    line(box, (first ? 'you are ' : '← ') + e.data);
    first = false;
  };
  form.addEventListener('submit', (e) => {
    e.preventDefault();
    if (socket.readyState === WebSocket.OPEN) socket.send(form.elements.text.value);
  });
}

const at = (id) => document.getElementById(id);
if (at('events')) events(at('events'), at('events-state'));
if (at('echo')) echo(at('echo'), at('echo-state'), at('echo-form'));
