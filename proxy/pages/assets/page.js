// The pages work without this. It adds three comforts: times in the browser's
// own zone, files put back into a form that met an ended session, and waiting
// for what is done in another tab without loading the page again and again.
'use strict';

function localTimes() {
  const lang = document.documentElement.lang; // the browser may know which English or Spanish
  const locale = navigator.languages.find((l) => l === lang || l.startsWith(lang + '-')) || lang;
  const format = new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeStyle: 'short' });
  for (const el of document.querySelectorAll('time[datetime]')) {
    el.textContent = format.format(new Date(el.dateTime));
  }
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function restoreFiles(label) {
  const transfer = new DataTransfer();
  for (const data of label.querySelectorAll('data')) {
    const { filename, kind } = data.dataset;
    transfer.items.add(new File([bytes(data.value)], filename, { type: kind }));
  }
  label.querySelector('input').files = transfer.files;
  label.querySelector('.again').hidden = true;
  label.querySelector('.kept').hidden = false;
}

// follow looks every three seconds at what a page waits for, and loads the page
// again once that is another than it shows.
function follow(data) {
  const look = async () => {
    try {
      const answer = await fetch(data.dataset.follow, { headers: { Accept: 'application/json' } });
      const other = answer.ok ? (await answer.json()).state !== data.value : answer.status === 401;
      if (other) return location.replace(data.dataset.follow);
    } catch {
      // no answer is none yet
    }
    setTimeout(look, 3000);
  };
  setTimeout(look, 3000);
}

localTimes();
document.querySelectorAll('label.files').forEach(restoreFiles);
document.querySelectorAll('data[data-follow]').forEach(follow);
